const $ = (id) => document.getElementById(id);

// prepend puts the newest line on top and forgets old ones.
function prepend(list, text) {
  const item = document.createElement('li');
  item.textContent = text;
  list.prepend(item);
  while (list.children.length > 20) list.lastChild.remove();
}

let last = 0;
async function count() {
  try {
    const { worker, count } = await (await fetch('counter')).json();
    $('worker').textContent = worker;
    $('count').textContent = count;
    $('lost').hidden = count > last || last === 0;
    last = count;
  } catch {
    $('worker').textContent = 'nobody: no worker answered';
  }
}
$('again').addEventListener('click', count);
count();

let ws;
function connect() {
  ws = new WebSocket(new URL('ws', location.href.replace(/^http/, 'ws')));
  ws.onopen = () => { $('wsstate').textContent = 'open'; };
  ws.onmessage = (e) => prepend($('echoes'), `← ${e.data}`);
  ws.onclose = (e) => {
    $('wsstate').textContent = `closed (${e.code}${e.reason ? ', ' + e.reason : ''}), connecting again`;
    setTimeout(connect, 1000);
  };
}
connect();
$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  if (ws.readyState !== WebSocket.OPEN) return;
  prepend($('echoes'), `→ ${$('text').value}`);
  ws.send($('text').value);
});

const socket = io();
const transport = () => { $('transport').textContent = socket.io.engine.transport.name; };
socket.on('connect', () => {
  transport();
  socket.io.engine.on('upgrade', transport);
});
socket.on('disconnect', (reason) => { $('transport').textContent = `disconnected (${reason})`; });
socket.on('connect_error', (err) => { $('transport').textContent = err.message; });

const feed = new EventSource('events');
feed.onmessage = (e) => {
  const { worker, tick, sent } = JSON.parse(e.data);
  prepend($('feed'), `${worker} · tick ${tick} · ${Math.max(0, Date.now() - sent)} ms`);
};

$('file').addEventListener('change', async () => {
  const [file] = $('file').files;
  if (!file) return;
  $('uploaded').textContent = `uploading ${file.name} …`;
  try {
    const { worker, size, sha256 } = await (await fetch('upload', { method: 'POST', body: file })).json();
    $('uploaded').textContent = `${worker} received ${size.toLocaleString()} bytes, SHA-256 ${sha256}`;
  } catch {
    $('uploaded').textContent = 'The upload did not arrive.';
  }
});
