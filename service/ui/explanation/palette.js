// Colours of patches. Each palette maps a value to [red, green, blue, alpha], alpha from 0 to 1.

const AGAINST = [58, 132, 255];
const FOR = [255, 122, 26];
const ENERGY = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

/** Blue below 0, orange above, clear at 0; `most` is the largest absolute value. */
export function diverging(most) {
  return (value) => [...(value < 0 ? AGAINST : FOR), most ? 0.88 * Math.abs(value / most) ** 0.8 : 0];
}

/** Dark at `least`, bright at `most`. */
export function sequential(least, most) {
  return (value) => {
    const place = most > least ? ((value - least) / (most - least)) * (ENERGY.length - 1) : 0;
    const below = Math.min(Math.floor(place), ENERGY.length - 2);
    const [from, to] = [ENERGY[below], ENERGY[below + 1]];
    return [...from.map((each, channel) => each + (to[channel] - each) * (place - below)), 0.82];
  };
}

/** One colour for each number; neighbours differ. */
export function categorical(index) {
  const hue = (index * 137.508) % 360;
  const light = [0.62, 0.48, 0.74][index % 3];
  const wave = (shift) => {
    const place = (shift + hue / 30) % 12;
    return 255 * (light - 0.72 * Math.min(light, 1 - light) * Math.max(-1, Math.min(place - 3, 9 - place, 1)));
  };
  return [wave(0), wave(8), wave(4), 0.82];
}

export function css([red, green, blue, alpha]) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}
