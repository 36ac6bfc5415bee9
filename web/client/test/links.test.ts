import assert from "node:assert/strict";
import { test } from "node:test";
import { linkify } from "../src/links.js";

const links = (text: string) => linkify(text).flatMap((piece) => ("href" in piece ? [piece.href] : []));

test("the pieces joined are the text again", () => {
  for (const text of ["", "plain", "a https://a.org b", "<b>https://a.org/?q=1&r=2#x</b>.", "(see http://a.org/x_(y))\nnext"]) {
    assert.equal(linkify(text).map((piece) => piece.text).join(""), text);
  }
});

test("only http and https become links", () => {
  assert.deepEqual(links("javascript:alert(1) data:text/html,x ftp://a.org file:///etc/passwd"), []);
  assert.deepEqual(links("HTTPS://A.org/x http://b.org"), ["https://a.org/x", "http://b.org/"]);
});

test("a link that hides its host behind a user name is text", () => {
  assert.deepEqual(links("https://bank.example@evil.example/"), []);
});

test("punctuation after a link is not part of it, a bracket of its own is", () => {
  assert.deepEqual(links("See https://a.org/x."), ["https://a.org/x"]);
  assert.deepEqual(links("(https://a.org/x)"), ["https://a.org/x"]);
  assert.deepEqual(links("https://a.org/x_(y)"), ["https://a.org/x_(y)"]);
  assert.deepEqual(links("https://a.org/x, https://b.org!"), ["https://a.org/x", "https://b.org/"]);
});

test("markup stays text", () => {
  assert.deepEqual(linkify("<script>alert(1)</script>"), [{ text: "<script>alert(1)</script>" }]);
  assert.deepEqual(links('https://a.org/"onmouseover="x'), ["https://a.org/"]);
});
