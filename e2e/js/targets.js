// What the SDK tests talk to: a fake provider itself ("direct"), or a provider of
// any kind behind the gateway. Given by ../sdk_test.go as JSON.
import assert from 'node:assert/strict';

assert.ok(process.env.TARGETS, 'run these tests with: go test ./e2e -run TestSDKs');

/**
 * @typedef {object} Target
 * @property {string} name
 * @property {boolean} direct the fake itself, without the gateway
 * @property {string} kind openai, openai_chat, anthropic or gemini: what answers
 * @property {string} url without a path
 * @property {string} key
 * @property {string} model one that does not think unless told, and takes a temperature
 * @property {string} thinker one that thinks
 * @property {string} embedder one for embeddings; empty: none
 */
/** @type {Target[]} */
export const targets = JSON.parse(process.env.TARGETS);

// What every answer of a fake costs.
export const usage = { input: 1000, cacheRead: 500, cacheWrite: 100, output: 50, reasoning: 20, counted: 42 };

/** A PNG's first bytes, which is all that the fakes look at. */
export const png = Buffer.from('\x89PNG\r\n\x1a\nrest', 'latin1').toString('base64');
export const pngBytes = 12;
export const pdf = Buffer.from('%PDF-1.4 rest').toString('base64');
export const pdfBytes = 13;

/** Reads what `#describe` answers. */
export const described = (text) => JSON.parse(text);

/** Waits for a promise to be rejected with a class of error, and gives the error. */
export async function rejected(promise, kind, status) {
  const error = await promise.then((value) => assert.fail(`the call succeeded: ${JSON.stringify(value)}`), (e) => e);
  assert.ok(error instanceof kind, `${error?.constructor?.name} is no ${kind.name}: ${error?.message}`);
  if (status) assert.equal(error.status, status, error.message);
  return error;
}

/** Reads a stream to its end. */
export async function drain(stream) {
  const all = [];
  for await (const event of stream) all.push(event);
  return all;
}
