// Runs of pipelines, with the manners of the web frontend: what can be run is
// listed, a run is started and followed over its WebSocket, and a page that is
// loaded anew follows it again from its first event.

const $ = (id) => document.getElementById(id);
const pingEvery = 30_000;

/** What the page can do with pipelines, with the calls and the token of its user. */
export function pipelines({ api, token, report }) {
  const run = { id: null, socket: null, events: [], watch: null };
  globalThis.run = run; // for who looks at it; a test is told of each event at once by watch

  async function list() {
    const { pipelines, count } = await api('/api/v2/pipelines/list');
    $('pipelines').dataset.count = count;
    $('pipelines').replaceChildren(...pipelines.map(({ name, display_name, description, agents, type, category }) =>
      new Option(`${category} / ${display_name} (${type}): ${description} ${agents.map(({ name, goal, model }) => `${name} [${model}] ${goal}`).join(', ')}`, name)));
  }

  async function start(event) {
    event.preventDefault();
    const { query } = event.target.elements;
    const begun = await api('/api/v2/pipelines/run', 'POST', { pipeline_name: $('pipelines').value, query: query.value });
    $('outcome').textContent = `${begun.status}`;
    history.replaceState(null, '', `/portal/r/${begun.pipeline_id}`);
    follow(begun.pipeline_id, begun.ws_url);
  }

  function follow(id, path = `/api/v2/pipelines/ws/${id}`) {
    run.socket?.close();
    Object.assign(run, { id, events: [], attached: null });
    const socket = new WebSocket(`ws://${location.host}${path}`);
    run.socket = socket;
    let pings;
    socket.onopen = () => {
      run.attached = Date.now();
      socket.send(JSON.stringify({ type: 'auth', token: token() }));
      socket.send('ping');
      pings = setInterval(() => socket.send('ping'), pingEvery);
    };
    socket.onmessage = ({ data }) => {
      if (data === 'pong') $('agents').dataset.pong = 'yes';
      else show(socket, JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      clearInterval(pings);
      if (run.socket === socket) $('agents').dataset.closed = `${code} ${reason}`;
    };
  }

  const item = (agent) => $('agents').querySelector(`[data-agent="${agent}"]`);

  /** What each type of event does to the page. */
  const shown = {
    pipeline_start({ agents, query }) {
      $('asked').textContent = `${query}`;
      $('outcome').textContent = 'running';
      $('agents').replaceChildren(...agents.map((agent) => {
        const li = Object.assign(document.createElement('li'), { className: 'waiting' });
        li.dataset.agent = agent;
        li.append(Object.assign(document.createElement('b'), { textContent: `${agent}` }), document.createElement('span'), document.createElement('small'));
        return li;
      }));
    },
    agent_start({ agent }) { item(agent).className = 'running'; },
    agent_token({ agent, content }) { item(agent).querySelector('span').append(`${content}`); },
    retry({ agent, attempt, reason }) {
      item(agent).querySelector('span').textContent = '';
      item(agent).querySelector('small').textContent = `try ${attempt}: ${reason}`;
    },
    agent_complete({ agent, duration_ms, output, tokens, cost, skipped }) {
      const li = item(agent);
      const pieces = li.querySelector('span').textContent;
      li.className = skipped ? 'skipped' : 'done';
      li.dataset.whole = pieces === '' || pieces === output;
      li.querySelector('span').textContent = `${output}`;
      li.querySelector('small').textContent = `${tokens.input} + ${tokens.output} tokens · ${duration_ms} ms · $${cost}`;
    },
    agent_error({ agent, message }) {
      item(agent).className = 'failed';
      item(agent).querySelector('small').textContent = `${message}`;
    },
    complete({ output, total_tokens, total_cost, duration_ms, agent_breakdown }) {
      $('outcome').textContent = `${output}`;
      $('sums').textContent = `${total_tokens} tokens · ${duration_ms} ms · $${total_cost}`;
      $('breakdown').replaceChildren(...agent_breakdown.map((b) => row([b.agent, b.model, b.input_tokens, b.output_tokens, b.total_tokens, b.cost, b.calls])));
    },
    error({ message }) { $('outcome').textContent = `failed: ${message}`; },
  };

  function show(socket, event) {
    if (socket !== run.socket) return;
    run.events.push(event);
    shown[event.type](event.data);
    run.watch?.(event);
    if (event.type === 'complete' || event.type === 'error') {
      $('agents').dataset.over = event.type;
      socket.close();
    }
  }

  async function cancel() {
    const { status, error_message } = await api(`/api/v2/pipelines/runs/${run.id}/cancel`, 'POST');
    $('sums').textContent = `${status}: ${error_message}`;
  }

  async function recent() {
    const { runs } = await api('/usage/pipelines?limit=20');
    $('runs').replaceChildren(...runs.map((r) => row([r.pipeline_name, r.query, r.status, r.total_tokens, r.total_cost, r.total_cost_usd, r.duration_ms, r.error_message, r.created_at])));
  }

  const row = (values) => {
    const tr = document.createElement('tr');
    tr.append(...values.map((value) => Object.assign(document.createElement('td'), { textContent: `${value}` })));
    return tr;
  };

  const does = (action) => (event) => Promise.resolve(action(event)).catch(report);
  $('list').onclick = does(list);
  $('run').onsubmit = does(start);
  $('stop').onclick = does(cancel);
  $('history').onclick = does(recent);
  return { follow };
}
