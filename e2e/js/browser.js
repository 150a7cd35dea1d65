// A real browser on the gateway's own pages: what the tests in browser.test.js and
// pipelines.test.js do all the time. Started by ../browser_test.go.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

export const gateway = process.env.TOLLGATE_URL;
export const patience = 30_000;

assert.ok(gateway && process.env.CHROMIUM, 'run these tests with: go test ./e2e -run TestBrowser');

/** Starts the browser. Names other than the gateway's resolve to nothing. */
export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    chromiumSandbox: process.getuid() !== 0 && existsSync('/proc/sys/user'),
  });
}

/** A window without cookies or storage of others, in which pages are watched. */
export class Visitor {
  constructor(context, base) {
    Object.assign(this, { context, base, problems: [], requests: [], expected: [] });
  }

  static async arrive(browser, base = gateway) {
    const context = await browser.newContext();
    context.setDefaultTimeout(patience);
    return new Visitor(context, base);
  }

  /** Opens a page and notes what goes wrong on it. */
  async open(path = '/portal/') {
    const page = await this.context.newPage();
    page.on('console', (message) => message.type() === 'error' && this.problems.push(`${message.text()} (${message.location().url})`));
    page.on('pageerror', (error) => this.problems.push(`uncaught: ${error.stack}`));
    page.on('request', (request) => this.requests.push(`${request.method()} ${request.url()}`));
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation',
      (event) => console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`)));
    await page.goto(this.base + path);
    return page;
  }

  /** Opens the portal and signs in by address. */
  async signIn(email) {
    const page = await this.open();
    await page.fill('#login input', email);
    await page.click('#login button');
    await page.waitForSelector('#app:not([hidden])');
    await ready(page);
    return page;
  }

  /** Says which refusals the browser will report that are part of the test. */
  expect(...patterns) { this.expected.push(...patterns); }

  /** Leaves, and checks that nothing was amiss. */
  async leave() {
    await this.context.close();
    const amiss = this.problems.filter((problem) => !this.expected.some((pattern) => pattern.test(problem)));
    assert.deepEqual(amiss, [], 'the browser complained');
    const foreign = this.requests.filter((request) => !/^\w+ (data|blob):/.test(request) && !request.split(' ')[1].startsWith(this.base));
    assert.deepEqual(foreign, [], 'a page asked other hosts');
  }
}

/**
 * Starts a browser for the tests of a file and gives what makes one: a test with a
 * visitor of its own, who leaves at its end and may not have met trouble.
 */
export function visiting() {
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());
  return (name, body, base) => test(name, async () => {
    const visitor = await Visitor.arrive(browser, base);
    try {
      await body(visitor);
    } catch (error) {
      error.message += `\nthe browser said: ${visitor.problems.join('\n')}`;
      await visitor.context.close();
      throw error;
    }
    await visitor.leave();
  });
}

export const ready = (page) => page.waitForSelector('body[data-ready], #conversations');

/** What a page holds in its storage. */
export const tokens = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('tokens')));

/** The same token, with other claims, signed by the gateway's own secret. */
export function resign(token, change) {
  const [header, payload] = token.split('.');
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), ...change };
  const body = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${body}.${createHmac('sha256', process.env.JWT_SECRET).update(body).digest('base64url')}`;
}

/** What the upstream answers to a question such as "slow 12 x": 12 words with x. */
export function answerTo(question) {
  const [, count, label] = question.split(' ');
  return Array.from({ length: Number(count) }, (_, i) => `${label}${i + 1}`).join(' ');
}

/** Asks something in the page's conversation, or in a new one. */
export async function ask(page, question, anew = false) {
  await page.evaluate(([question, anew]) => { // quicker by far than clicks, of which each waits for the page to stand still
    if (anew) document.querySelector('#new').click();
    document.querySelector('#composer textarea').value = question;
    document.querySelector('#composer').requestSubmit();
  }, [question, anew]);
}

/** Waits until the page has done all it does after a question, and gives what it shows. */
export async function answered(page, question) {
  await page.waitForSelector(`#composer[data-sent="${question}"]`);
  return messages(page);
}

/** What a page shows of a conversation, as [role, text]. */
export const messages = (page) => page.$$eval('#messages > li', (items) => items.map((item) => [item.className, item.firstChild?.data ?? '']));

/** Waits until something is so, and gives it. */
export async function until(what, get, limit = patience) {
  for (const end = Date.now() + limit; ;) {
    const value = await get();
    if (value) return value;
    if (Date.now() > end) assert.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
