// What people see of pipelines, in a browser. Started by ../browser_test.go.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Visitor, gateway, until, visiting } from './browser.js';

const visit = visiting();

// What the shipped pipeline is made of, and which of its steps wait for which.
const lex = 'lex-intelligence-ultimate';
const agents = ['search', 'statutes', 'precedents', 'adversary', 'strategy', 'synthesis'];
const atOnce = ['statutes', 'precedents', 'adversary'];

const query = `${process.env.QUERY}: may I cross here?`;

const text = (page, selector) => page.textContent(selector);
const output = (page, agent) => text(page, `#agents [data-agent=${agent}] span`);
const events = (page) => page.evaluate(() => run.events);

/** Starts a run of a pipeline. */
async function start(page, name, asked) {
  await page.click('#list');
  await page.waitForSelector(`#pipelines option[value=${name}]`, { state: 'attached' });
  await page.selectOption('#pipelines', name);
  await page.fill('#run input', asked);
  await page.click('#run button:not(#stop)');
}

/** Waits until a run is over and gives the type of its last event. */
const over = (page) => until('the last event', () => page.getAttribute('#agents', 'data-over'));

const recent = async (page) => {
  await page.click('#history');
  await page.waitForSelector('#runs tr');
  return page.$$eval('#runs tr', (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
};

/** The rows of a run's calls in the usage log. */
const callsOf = (page, id) => page.evaluate(async (id) => {
  const { access_token } = JSON.parse(localStorage.getItem('tokens'));
  return (await (await fetch(`/usage/logs?run_id=${id}`, { headers: { Authorization: `Bearer ${access_token}` } })).json()).logs;
}, id);

describe('pipelines in a browser', { concurrency: 2 }, () => {
  visit('what can be run is listed', async (visitor) => {
    const page = await visitor.signIn('list@example.com');
    await page.click('#list');
    const names = await until('the list', () => page.$$eval('#pipelines option', (all) => all.length > 0 && all.map((option) => option.value)));
    assert.deepEqual(names.toSorted(), [
      'calculus-intelligence', 'due-diligence-engine', 'financial-strategy-analyst', 'forge-intelligence', 'investor-reporting-engine',
      'lead-ranking-engine', lex, 'portfolio-monitoring-engine', 'skip-trace-engine', 'underwriting-engine',
    ]);
    assert.equal(await page.getAttribute('#pipelines', 'data-count'), '10');
    const shown = await text(page, `#pipelines option[value=${lex}]`);
    for (const agent of agents) assert.match(shown, new RegExp(`\\b${agent} \\[\\S+\\] [A-Z]`));
    assert.match(shown, /\(multi_agent\)/);
    assert.doesNotMatch(await text(page, '#pipelines'), /undefined|null|NaN/);
  });

  visit('a run is followed, also by a page that is loaded in the middle of it', async (visitor) => {
    const page = await visitor.signIn('run@example.com');
    let before;
    for (let tries = 1; ; tries++) { // a browser that starves may come too late to be in the middle
      await page.evaluate(() => {
        run.watch = ({ type }) => { // quicker by far than from here
          if (type !== 'agent_token') return;
          run.watch = null;
          const [first, , , , , last] = document.querySelectorAll('#agents li');
          sessionStorage.before = JSON.stringify([first.className, first.querySelector('span').textContent, last.className]);
          location.reload();
        };
      });
      await start(page, lex, query);
      await page.waitForFunction(() => performance.getEntriesByType('navigation')[0].type === 'reload' && sessionStorage.before && globalThis.run?.events.length > 0);
      before = await page.evaluate(() => JSON.parse(sessionStorage.before));
      await page.evaluate(() => sessionStorage.clear());
      await over(page);
      const [attached, end] = await page.evaluate(() => [run.attached, Date.parse(run.events.at(-1).timestamp)]);
      if (attached < end) break;
      assert.ok(tries < 5, `the page came ${attached - end} ms after the end`);
    }
    const [state, words, last] = before;
    assert.deepEqual([state, last], ['running', 'waiting']);
    assert.ok(words.length > 0 && (await output(page, 'search')).startsWith(words), 'what was seen before is there again');
    const id = page.url().split('/').at(-1);
    assert.match(page.url(), /\/portal\/r\/[0-9a-f-]{36}$/);
    assert.equal(await text(page, '#asked'), query);

    const seen = await events(page);
    assert.deepEqual(Object.keys(seen[0]).toSorted(), ['data', 'pipeline_id', 'timestamp', 'type']);
    assert.deepEqual([seen[0].type, seen[0].data.agents, seen.at(-1).type], ['pipeline_start', agents, 'complete']);
    assert.ok(seen.every((event) => event.pipeline_id === id));
    for (const agent of agents) {
      const pieces = seen.filter(({ type, data }) => type === 'agent_token' && data.agent === agent).map(({ data }) => data.content);
      assert.ok(pieces.length > 1, `${agent} came in pieces`);
      assert.equal(await output(page, agent), pieces.join(''));
      assert.equal(await page.getAttribute(`#agents [data-agent=${agent}]`, 'data-whole'), 'true');
      assert.equal(await page.getAttribute(`#agents [data-agent=${agent}]`, 'class'), 'done');
      assert.match(await text(page, `#agents [data-agent=${agent}] small`), /^\d+ \+ \d+ tokens · \d+ ms · \$0$/);
    }
    const at = (type, agent) => seen.findIndex((event) => event.type === type && event.data.agent === agent);
    for (const agent of atOnce) {
      assert.ok(at('agent_complete', 'search') < at('agent_start', agent));
      assert.ok(Math.max(...atOnce.map((other) => at('agent_start', other))) < at('agent_complete', agent), 'three at a time');
      assert.ok(at('agent_complete', agent) < at('agent_start', 'strategy'));
    }
    assert.equal(await text(page, '#outcome'), await output(page, 'synthesis'));
    assert.match(await text(page, '#outcome'), /demo model/);

    // Sums: of the run, of its breakdown and of the agents.
    const [, total] = (await text(page, '#sums')).match(/^(\d+) tokens · \d+ ms · \$0$/);
    const breakdown = await page.$$eval('#breakdown tr', (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.deepEqual(breakdown.map(([agent]) => agent), agents);
    const sum = (numbers) => numbers.reduce((all, n) => all + Number(n), 0);
    assert.equal(sum(breakdown.map((b) => b[4])), Number(total));
    const completed = seen.filter(({ type }) => type === 'agent_complete');
    assert.equal(sum(completed.map(({ data }) => data.tokens.input + data.tokens.output)), Number(total));
    assert.deepEqual(breakdown.map((b) => b[6]), agents.map(() => '1'));
    const rows = await until('the rows', async () => [await callsOf(page, id)].find(({ length }) => length === agents.length));
    assert.deepEqual(rows.map(({ specialist_id }) => specialist_id).toSorted(), agents.toSorted());
    assert.equal(sum(rows.map((row) => row.input_tokens + row.output_tokens)), Number(total));

    const [latest] = await recent(page);
    assert.deepEqual(latest.slice(0, 6), [lex, query, 'completed', total, '0', '0']);
    assert.match(latest[6], /^\d+$/);
    assert.deepEqual(latest.slice(7, 8), ['null']);
    assert.match(latest[8], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);

    // Who comes after the end sees the same.
    const late = await visitor.open(`/portal/r/${id}`);
    await over(late);
    assert.deepEqual(await events(late), seen);
    await until('the socket is closed', () => late.getAttribute('#agents', 'data-closed'));
    assert.doesNotMatch(await text(page, '#agents'), /undefined|NaN/);
  });

  visit('a run is cancelled', async (visitor) => {
    const page = await visitor.signIn('cancel@example.com');
    await page.evaluate(() => {
      run.watch = ({ type }) => {
        if (type !== 'agent_token') return;
        run.watch = null;
        document.querySelector('#stop').click();
      };
    });
    await start(page, lex, query);
    assert.equal(await over(page), 'error');
    assert.match(await text(page, '#outcome'), /^failed: .*cancel/);
    await until('the answer', async () => /^failed: .*cancel/.test(await text(page, '#sums')));
    const [[name, , status, , , , , message]] = await recent(page);
    assert.deepEqual([name, status], [lex, 'failed']);
    assert.match(message, /cancel/);
    await until('it used what its one call did', async () => {
      const rows = await callsOf(page, await page.evaluate(() => run.id));
      const [[, , , tokens]] = await recent(page);
      return rows.length === 1 && rows[0].specialist_id === 'search' && !rows[0].success && Number(tokens) === rows[0].input_tokens + rows[0].output_tokens;
    });
    const seen = await events(page);
    await page.waitForTimeout(300);
    assert.deepEqual(await events(page), seen, 'nothing arrives after it');
  });

  visit('the run of another is not shown', async (visitor) => {
    const page = await visitor.signIn('owner@example.com');
    await start(page, 'forge-intelligence', query);
    await until('it begins', () => page.evaluate(() => run.id));
    const id = await page.evaluate(() => run.id);
    await until('the socket answers', async () => (await page.getAttribute('#agents', 'data-pong')) === 'yes');
    const other = await Visitor.arrive(visitor.context.browser());
    const stranger = await other.signIn('stranger@example.com');
    await stranger.goto(`${gateway}/portal/r/${id}`);
    assert.match(await until('it is refused', () => stranger.getAttribute('#agents', 'data-closed')), /^4003 /);
    assert.equal(await stranger.locator('#agents li').count(), 0);
    await other.leave();
    assert.equal(await over(page), 'complete', 'its owner goes on');
  });
});
