// What people see of the gateway, in a browser. Started by ../browser_test.go.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Visitor, answerTo, answered, ask, gateway, messages, ready, resign, tokens, until, visiting } from './browser.js';

const visit = visiting();
const unauthorized = /status of 401/;

describe('the portal in a browser', { concurrency: 3 }, () => {
  visit('the frontend is served', async (visitor) => {
    const page = await visitor.open('/');
    assert.equal(page.url(), `${gateway}/portal/`);
    for (const path of ['/portal/some/deep/path', '/portal']) {
      await page.goto(gateway + path);
      await page.waitForSelector('#login:not([hidden])');
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).display), 'grid', 'the style sheet arrived');
    }
  });

  visit('a chat arrives bit by bit, whole, and is there after a reload', async (visitor) => {
    const page = await visitor.signIn('bits@example.com');
    assert.match(await page.textContent('#who'), /<bits@example\.com> user$/);
    assert.ok(await page.locator('#specialists option').count() >= 4);
    const question = 'slow 12 bit';
    await page.evaluate(() => {
      knobs.rereadAfter = 1e6; // tests of their own look at that
      globalThis.seen = new Set();
      new MutationObserver(() => seen.add(document.querySelector('#messages > li:last-child')?.firstChild?.data)).observe(document.querySelector('#messages'), { childList: true });
    });
    await ask(page, question);
    assert.deepEqual(await answered(page, question), [['user', question], ['assistant', answerTo(question)]]);
    const seen = await page.evaluate(() => [...seen]);
    assert.ok(seen.filter((text) => text && answerTo(question).startsWith(text)).length > 3, `it came in pieces: ${seen.join(' | ')}`);
    assert.match(await page.textContent('#messages .meta'), /^\S+ · \d+ \+ \d+ tokens · \d+ ms · \$0\.0\d+$/);
    assert.equal(await page.textContent('#title'), question);

    const second = 'instant 3 more';
    await ask(page, second);
    await answered(page, second);
    await page.reload();
    const shown = [['user', question], ['assistant', answerTo(question)], ['user', second], ['assistant', answerTo(second)]];
    await until('the conversation is back', async () => (await messages(page)).length === shown.length);
    assert.deepEqual(await messages(page), shown);
    assert.equal(await page.textContent('#title'), question);
    assert.match(await page.textContent('#conversations li'), /^slow 12 bit \(4\) /);
    assert.doesNotMatch(await page.textContent('body'), /undefined|null|NaN|New conversation \(/);
  });

  // The page reads a new conversation again while its first answer streams, and
  // what it shows then is replaced by what it read. A page that is late itself may
  // lose something, so what it then shows does not count; what is stored does.
  const manners = ['instant', 'slow', 'delayed'];
  const delays = [0, 0, 40, 150, 400];
  const late = 25; // ms
  for (let person = 0; person < 4; person++) {
    visit(`first replies are whole (${person})`, async (visitor) => {
      const page = await visitor.signIn(`first${person}@example.com`);
      const conversations = []; // what each must be
      let again = 0;
      for (let i = 0; i < delays.length; i++) {
        const rereadAfter = delays[i];
        const question = `${manners[(person + i) % 3]} 10 p${person}c${i}a${again}w`;
        const want = [['user', question], ['assistant', answerTo(question)]];
        conversations.push(want);
        await page.evaluate((set) => Object.assign(knobs, set) && worstLag(), { rereadAfter, storeFirst: (person + i) % 2 === 1 });
        await ask(page, question, true);
        await answered(page, question);
        await page.waitForTimeout(rereadAfter + 100); // a late reading must not spoil it either
        const [shown, lag] = [await messages(page), await page.evaluate(() => worstLag())];
        if (lag > late && again < 5 && JSON.stringify(shown) !== JSON.stringify(want)) {
          again++;
          i--;
          continue;
        }
        assert.deepEqual(shown, want, `${question}, read again after ${rereadAfter} ms by a page that is late by ${Math.round(lag)} ms`);
      }
      await page.reload();
      await until('the last one is back', async () => await page.textContent('#title') === conversations.at(-1)[0][1]);
      assert.equal(await page.locator('#conversations li').count(), conversations.length);
      for (const want of conversations) {
        const [[, question]] = want;
        await page.evaluate((question) => [...document.querySelectorAll('#conversations li')].find((item) => item.textContent.startsWith(`${question} (2)`)).click(), question);
        await until('it is opened', async () => await page.textContent('#title') === question);
        assert.deepEqual(await messages(page), want, 'after a reload');
      }
      if (again) console.log(`person ${person}: ${again} conversations more, since the browser was too slow`);
      assert.doesNotMatch(await page.textContent('#conversations'), /New conversation|undefined/);
    });
  }

  visit('the usage page shows what was spent', async (visitor) => {
    const page = await visitor.signIn('usage@example.com');
    const question = 'instant 5 spent';
    await ask(page, question);
    await answered(page, question);
    const cells = await until('the row', async () => {
      await page.click('#usage');
      return await page.locator('#rows tr').count() === 1 && page.$$eval('#rows td', (all) => all.map((cell) => cell.textContent));
    });
    const [timestamp, specialist, provider, , input, output, cost, estimated, latency, success] = cells;
    assert.match(timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.deepEqual([specialist, provider, input, output, success], ['Financial Analyst', 'openai', '10', '5', 'true']);
    assert.equal(Number(cost), 0.000075, '10 tokens at 2.50 and 5 at 10.00 a million');
    assert.equal(estimated, cost);
    assert.match(latency, /^\d+$/);
    await until('the summary', async () => /"requests":1\b/.test(await page.textContent('#summary')));
  });

  visit('a WebSocket chat, one cancelled', async (visitor) => {
    const page = await visitor.signIn('live@example.com');
    const say = async (question) => {
      await page.fill('#socket input', question);
      await page.click('#socket button:not(#cancel)');
    };
    await say('slow 4 ws');
    const whole = page.locator('#live li').nth(0);
    await until('the final chunk', () => whole.getAttribute('data-final'));
    assert.equal(await whole.textContent(), 'ws1 ws2 ws3 ws4');

    await say('slow 400 cut');
    const cut = page.locator('#live li').nth(1);
    await until('it begins', async () => /cut2/.test(await cut.textContent()));
    await page.click('#cancel');
    const final = JSON.parse(await until('the final chunk', () => cut.getAttribute('data-final')));
    const text = await cut.textContent();
    assert.equal(final.error, 'cancelled');
    assert.ok(!/cut400/.test(text), text);
    await page.waitForTimeout(300);
    assert.equal(await cut.textContent(), text, 'nothing arrives after it');

    await say('instant 2 on');
    await until('the connection goes on', () => page.locator('#live li').nth(2).getAttribute('data-final'));
    const rows = await until('three rows', async () => {
      await page.click('#usage');
      return await page.locator('#rows tr').count() === 3 && page.$$eval('#rows tr', (all) => all.map((row) => row.lastChild.textContent));
    });
    assert.deepEqual(rows, ['true', 'false', 'true']);
    assert.doesNotMatch(await page.textContent('#live'), /undefined/);
  });

  visit('an expired access token is refreshed unnoticed', async (visitor) => {
    visitor.expect(unauthorized);
    const page = await visitor.signIn('expired@example.com');
    const before = await tokens(page);
    await page.evaluate((token) => localStorage.setItem('tokens', JSON.stringify({ ...JSON.parse(localStorage.getItem('tokens')), access_token: token })),
      resign(before.access_token, { iat: 1700000000, nbf: 1700000000, exp: 1700000001 }));
    await page.reload();
    await ready(page);
    await until('it goes on', async () => /expired@example\.com/.test(await page.textContent('#who')));
    const renewed = await tokens(page);
    assert.notEqual(renewed.refresh_token, before.refresh_token);
    assert.equal(visitor.requests.filter((request) => request.endsWith('/auth/refresh')).length, 1);
    const question = 'instant 2 again';
    await page.evaluate(() => { knobs.rereadAfter = 1e6; });
    await ask(page, question);
    await answered(page, question);
    assert.deepEqual((await messages(page)).at(-1), ['assistant', answerTo(question)]);
  });

  visit('two tabs refresh at once and both go on', async (visitor) => {
    visitor.expect(unauthorized);
    const first = await visitor.signIn('tabs@example.com');
    await first.evaluate(() => localStorage.setItem('tokens', JSON.stringify({ ...JSON.parse(localStorage.getItem('tokens')), access_token: 'gone' })));
    const [second] = await Promise.all([visitor.open(), first.reload()]);
    for (const page of [first, second]) {
      await until('it goes on', async () => /tabs@example\.com/.test(await page.textContent('#who')));
    }
  });

  visit('signing out in one tab ends the other', async (visitor) => {
    visitor.expect(unauthorized);
    const first = await visitor.signIn('out@example.com');
    const second = await visitor.open('/portal/');
    await second.waitForSelector('#app:not([hidden])');
    await until('the other tab is there', async () => /out@example\.com/.test(await second.textContent('#who')));
    await first.click('#logout');
    await first.waitForSelector('#login:not([hidden])');
    assert.equal(await first.textContent('#notice'), 'logged out: true');
    const before = visitor.requests.length;
    await second.click('#usage'); // it still has both tokens
    await second.waitForSelector('#login:not([hidden])');
    assert.deepEqual(visitor.requests.slice(before), [`GET ${gateway}/usage/logs?limit=50`, `POST ${gateway}/auth/refresh`], 'at once');
  });

  visit('the documentation lists every operation', async (visitor) => {
    const page = await visitor.open('/docs');
    await page.waitForSelector('.opblock');
    const document = await (await fetch(`${gateway}/openapi.json`)).json();
    const operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).filter((key) => ['get', 'put', 'post', 'delete', 'patch'].includes(key)).map((method) => `${method.toUpperCase()} ${path}`));
    assert.ok(operations.length > 30, `${operations.length}`);
    const shown = await until('all of them', async () => {
      const all = await page.$$eval('.opblock', (blocks) => blocks.map((block) =>
        `${block.querySelector('.opblock-summary-method').textContent} ${block.querySelector('.opblock-summary-path').getAttribute('data-path')}`));
      return all.length >= operations.length && all;
    });
    assert.deepEqual([...new Set(shown)].toSorted(), operations.toSorted()); // some stand under two headings
  });
});

// A gateway that wants proof of an address sends a code to it.
const proving = process.env.PROVING_URL;

describe('signing in by mail', () => {
  visit('the mailed link signs in', async (visitor) => {
    visitor.expect(/status of 403/);
    const page = await visitor.open();
    await page.fill('#login input', 'mailed@example.com');
    await page.click('#login button');
    await until('the page says so', async () => /^Check your inbox/.test(await page.textContent('#notice')));
    const link = await until('the mail', async () => {
      const response = await fetch(`${process.env.LINKS_URL}/?to=mailed@example.com`);
      return response.ok && response.text();
    });
    assert.ok(link.startsWith(`${proving}/portal/?code=`), link);
    await page.goto(link);
    await until('it is signed in', async () => /<mailed@example\.com> user$/.test(await page.textContent('#who')));
    assert.equal(page.url(), `${proving}/portal/`);

    const again = await Visitor.arrive(visitor.context.browser(), proving);
    again.expect(/status of 4\d\d/);
    const late = await again.open(link.slice(proving.length));
    await until('a used link is refused', async () => (await late.textContent('#notice')).length > 0);
    await late.waitForSelector('#login:not([hidden])');
    await again.leave();
  }, proving);
});
