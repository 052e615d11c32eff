// Classify images through the service, with Node's own fetch (Node 18 or newer).
//
//     node examples/client.mjs http://127.0.0.1:8000 photo.jpg other.png
//
// Set AIT_KEY to an API key where the server asks for one.

import { readFile } from "node:fs/promises";

const ATTEMPTS = 5;

async function classify(url, image, topK = 5) {
  const headers = { "Content-Type": "application/octet-stream" };
  if (process.env.AIT_KEY) headers.Authorization = `Bearer ${process.env.AIT_KEY}`;
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(`${url}/v1/classify?top_k=${topK}`, { method: "POST", headers, body: image });
    if (answer.ok) return answer.json();
    const busy = answer.status === 429 || answer.status === 503;
    if (!busy || attempt === ATTEMPTS) throw new Error(`${answer.status}: ${await answer.text()}`);
    const seconds = Number(answer.headers.get("Retry-After") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

const [url, ...paths] = process.argv.slice(2);
if (!url || paths.length === 0) {
  console.error("usage: node client.mjs URL IMAGE...");
  process.exit(2);
}
for (const path of paths) {
  const { predictions } = await classify(url, await readFile(path));
  const labels = predictions[0].labels.map(({ label, score }) => `${label} ${(100 * score).toFixed(1)}%`);
  console.log(`${path}: ${labels.join("  ")}`);
}
