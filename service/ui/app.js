// The playground: sends each picture to /v1/classify and shows the answer. Text only ever enters the page as
// textContent, so that file names and labels cannot become markup.

const $ = (id) => document.getElementById(id);
const waiting = [];
let busy = false;
let limits = null;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function percent(score) {
  if (score > 0 && score < 0.001) return "<0.1 %";
  return `${(score * 100).toFixed(1)} %`;
}

function bytes(count) {
  return count >= 1e6 ? `${+(count / 1e6).toFixed(1)} MB` : `${Math.ceil(count / 1e3)} kB`;
}

// ---- what is served ----

async function showModel() {
  let answer;
  try {
    answer = await fetch("/v1/models");
  } catch {
    return retry("The server cannot be reached", true);
  }
  if (answer.status === 503) return retry((await answer.json()).detail, false);
  if (!answer.ok) return retry("The server has a problem", true);
  const { default: name, models } = await answer.json();
  const model = models.find((each) => each.name === name);
  limits = model.limits;
  const [, height, width] = model.input_size;
  $("model").className = "model";
  $("model").textContent = `${model.name} · ${model.labels.length} classes`;
  $("model").title = `${model.name}, version ${model.version}; sees ${width} × ${height} pixels`;
  $("limits").textContent =
    `JPEG, PNG or WebP, up to ${bytes(limits.body_bytes)} and ${Math.round(limits.pixels / 1e6)} megapixels`;
  $("classes-head").textContent = `${model.labels.length} classes`;
  $("classes").replaceChildren(...model.labels.map((label) => element("li", "", label)));
  $("classes-box").open = model.labels.length <= 40;
  $("curl").textContent = `curl --data-binary @picture.jpg ${location.origin}/v1/classify`;
  $("about").hidden = false;
}

function retry(message, bad) {
  $("model").className = bad ? "model bad" : "model";
  $("model").textContent = message;
  setTimeout(showModel, 1500);
}

// ---- pictures ----

function add(files) {
  for (const file of files) {
    const card = $("result").content.firstElementChild.cloneNode(true);
    const image = card.querySelector("img");
    const box = card.querySelector(".thumb");
    card.querySelector("h3").textContent = file.name || "Pasted picture";
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth < 100);
    image.onerror = () => box.classList.add("none");
    image.src = URL.createObjectURL(file);
    $("results").prepend(card);
    waiting.push({ file, card });
  }
  const any = $("results").childElementCount > 0;
  $("results-head").hidden = !any;
  document.body.classList.toggle("has-results", any);
  work();
}

async function work() {
  if (busy) return;
  busy = true;
  while (waiting.length) {
    const { file, card } = waiting.shift();
    if (card.isConnected) card.querySelector(".answer").replaceChildren(...(await classify(file)));
    for (const fill of card.querySelectorAll(".fill")) fill.style.width = `${fill.dataset.score * 100}%`;
  }
  busy = false;
}

async function classify(file) {
  if (limits && file.size > limits.body_bytes) {
    const most = bytes(limits.body_bytes);
    return [failure("The request is too large", `The file has ${bytes(file.size)}; at most ${most} are accepted.`)];
  }
  const start = performance.now();
  try {
    const answer = await fetch("/v1/classify", { method: "POST", body: file });
    const document = await answer.json();
    if (!answer.ok) return [failure(document.title, document.detail)];
    return success(document, performance.now() - start);
  } catch {
    return [failure("No answer", "The server cannot be reached, or the file can no longer be read. Try again.")];
  }
}

function success({ predictions, timing_ms: timing }, total) {
  const list = element("ol", "scores");
  for (const { label, score } of predictions[0].labels) {
    const item = element("li");
    const track = element("div", "track");
    const fill = element("div", "fill");
    fill.dataset.score = score;
    track.append(fill);
    item.append(element("span", "name", label), element("span", "percent", percent(score)), track);
    list.append(item);
  }
  const parts = [["decode", timing.decode], ["model", timing.infer], ["queue", timing.queue]];
  const shown = parts.filter(([, ms]) => ms >= 1).map(([name, ms]) => `${name} ${ms.toFixed(0)}`);
  return [list, element("p", "quiet timing", [`${total.toFixed(0)} ms`, ...shown].join(" · "))];
}

function failure(title, detail) {
  const box = element("div", "error");
  box.append(element("strong", "", title), element("span", "", detail));
  return box;
}

// ---- ways in: choose, drop, paste ----

$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});

let depth = 0; // dragenter and dragleave also fire for every child
const over = (on) => $("drop").classList.toggle("over", on);
addEventListener("dragenter", () => over(++depth > 0));
addEventListener("dragleave", () => over(--depth > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  over(false);
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => add(event.clipboardData.files));

$("clear").addEventListener("click", () => {
  waiting.length = 0;
  for (const image of $("results").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  $("results").replaceChildren();
  add([]);
  $("files").focus();
});

showModel();
