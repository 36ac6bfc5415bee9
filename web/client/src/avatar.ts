// A picture for each person, drawn here from id and name: nothing is fetched. The server draws the same (pages/avatar.rs).

const SVG = "http://www.w3.org/2000/svg";

/** Golden-angle steps: neighbours in id are far apart in colour. */
export function hue(id: number): number {
  return Math.round((id * 137.508) % 360);
}

/** "Ada Lovelace" → "AL", "bob" → "B". */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? "")][0] ?? "").join("").toUpperCase() || "?";
}

export function avatar(id: number, name: string): SVGSVGElement {
  const svg = node("svg", { class: "avatar", viewBox: "0 0 40 40", "aria-hidden": "true", focusable: "false" });
  svg.append(
    node("circle", { cx: 20, cy: 20, r: 20, fill: `oklch(0.5 0.11 ${hue(id)})` }),
    node("path", { d: "M20 0A20 20 0 0 1 40 20L20 20Z", fill: `oklch(0.43 0.11 ${hue(id)})`, transform: `rotate(${(id % 8) * 45} 20 20)` }),
  );
  const text = node("text", { x: 20, y: 20, "text-anchor": "middle", "dominant-baseline": "central", fill: "#fff" });
  text.textContent = initials(name);
  svg.append(text);
  return svg as SVGSVGElement;
}

function node(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
