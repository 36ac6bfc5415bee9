// Finds the links in what a person wrote. Pure: the caller makes text nodes and anchors of the pieces, never markup.

export type Piece = { readonly text: string } | { readonly text: string; readonly href: string };

// Ends before white space and before what cannot stand in a link unescaped.
const CANDIDATE = /\bhttps?:\/\/[^\s<>"'`\\^{|}]+/giu;
const TRAILING = /[.,;:!?…*_~]$/u;
const PAIRS: Readonly<Record<string, string>> = { ")": "(", "]": "[" };

/** Splits a text into plain pieces and http(s) links; the pieces joined are the text again. */
export function linkify(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(CANDIDATE)) {
    const link = withoutPunctuation(match[0]);
    const href = safeHref(link);
    if (href === null) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index) });
    pieces.push({ text: link, href });
    end = match.index + link.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** "See https://a.org/x." ends before the full stop, "(https://a.org/x_(y))" keeps only its own bracket. */
function withoutPunctuation(candidate: string): string {
  let link = candidate;
  for (;;) {
    const last = link.at(-1) ?? "";
    const opening = PAIRS[last];
    const unbalanced = opening !== undefined && count(link, last) > count(link, opening);
    if (!TRAILING.test(link) && !unbalanced) return link;
    link = link.slice(0, -1);
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}

function safeHref(link: string): string | null {
  try {
    const url = new URL(link);
    const safe = (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
    return safe ? url.href : null;
  } catch {
    return null;
  }
}
