// Numbers as people read them.

export function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1 %";
  return `${(share * 100).toFixed(1)} %`;
}

export function bytes(count) {
  if (count >= 1e9) return `${+(count / 1e9).toFixed(1)} GB`;
  return count >= 1e6 ? `${+(count / 1e6).toFixed(1)} MB` : `${Math.ceil(count / 1e3)} kB`;
}

export function milliseconds(value) {
  return value >= 10 ? value.toFixed(0) : value.toFixed(1);
}

/** Three significant digits, never in powers of ten; a true minus sign. */
export function number(value) {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const text = size.toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** Like `number`, with a plus where it is due. */
export function signed(value) {
  const text = number(value);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

export function count(size, one, many = `${one}s`) {
  return `${size.toLocaleString("en")} ${size === 1 ? one : many}`;
}
