// One worker of the example: an Express app that keeps its sessions in memory,
// so a client has to come back to the worker that knows it. That is what
// `sticky` in steelyard.yaml is for.
//
//   PORT=3001 node server.js

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import express from 'express';
import session from 'express-session';
import { Server as SocketServer } from 'socket.io';
import { WebSocketServer } from 'ws';

const port = Number(process.env.PORT ?? 3001);
const tickEvery = Number(process.env.TICK_MS ?? 1000);
const graceful = Number(process.env.GRACE_MS ?? 10_000);
let worker = `worker ${process.pid}`; // The port is added once it is known.

const app = express();
app.disable('x-powered-by');
// The balancer is the one hop in front of us: believe its X-Forwarded-*.
app.set('trust proxy', 'loopback');

// Each answer says who gave it.
app.use((req, res, next) => {
  res.set('X-Worker', worker);
  next();
});

app.get('/healthz', (req, res) => {
  // During a stop the balancer must stop sending new clients here.
  res.status(stopping ? 503 : 200).json({ worker, ok: !stopping });
});

app.get('/whoami', (req, res) => {
  res.json({ worker, ip: req.ip, protocol: req.protocol, requestId: req.get('x-request-id') ?? null });
});

// A counter in an in-memory session: it only counts on the worker that made it.
const sessions = session({
  secret: process.env.SESSION_SECRET ?? 'an example, not a secret',
  name: 'session',
  resave: false,
  saveUninitialized: false,
  cookie: { httpOnly: true, sameSite: 'lax' },
});
app.get('/counter', sessions, (req, res) => {
  req.session.count = (req.session.count ?? 0) + 1;
  res.set('Cache-Control', 'no-store').json({ worker, count: req.session.count });
});

// An upload of any size: hashed as it streams in, never held in memory.
app.post('/upload', async (req, res, next) => {
  try {
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of req) {
      hash.update(chunk);
      size += chunk.length;
    }
    res.json({ worker, size, sha256: hash.digest('hex') });
  } catch (err) {
    next(err); // The client went away in the middle.
  }
});

// Server-sent events: one tick for everybody, every second.
const feeds = new Set();
let tick = 0;
app.get('/events', (req, res) => {
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  res.flushHeaders();
  res.write(`event: hello\ndata: ${JSON.stringify({ worker })}\n\n`);
  feeds.add(res);
  res.on('close', () => feeds.delete(res));
});
const ticking = setInterval(() => {
  tick += 1;
  const message = `id: ${tick}\ndata: ${JSON.stringify({ worker, tick, sent: Date.now() })}\n\n`;
  for (const res of feeds) res.write(message);
}, tickEvery);

app.use(express.static(fileURLToPath(new URL('public', import.meta.url))));

const server = createServer(app);

// Two users of `Upgrade` on one server: Socket.IO takes /socket.io/, a plain
// WebSocket echo takes /ws.
const io = new SocketServer(server, { destroyUpgrade: false });
io.on('connection', (socket) => {
  socket.emit('welcome', { worker, transport: socket.conn.transport.name });
  socket.on('echo', (message, reply) => reply({ worker, message, transport: socket.conn.transport.name }));
});

const echo = new WebSocketServer({ noServer: true });
echo.on('connection', (ws) => {
  ws.on('message', (data, binary) => ws.send(data, { binary }));
  ws.on('error', () => ws.terminate());
});
server.on('upgrade', (req, socket, head) => {
  const { pathname } = new URL(req.url, 'http://worker');
  if (pathname === '/ws') {
    echo.handleUpgrade(req, socket, head, (ws) => echo.emit('connection', ws, req));
  } else if (!pathname.startsWith('/socket.io/')) {
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }
});

server.listen(port, '127.0.0.1', () => {
  const address = server.address();
  worker = `worker :${address.port}`;
  console.log(`listening on 127.0.0.1:${address.port}`);
});

// A graceful stop: take nothing new, end what would never end by itself, let
// requests in flight finish, then leave.
let stopping = false;
function stop(signal) {
  if (stopping) process.exit(1); // Asked twice: now.
  stopping = true;
  console.log(`${signal}: stopping`);
  clearInterval(ticking);
  for (const res of feeds) res.end();
  for (const ws of echo.clients) ws.close(1001, 'worker is stopping');
  setTimeout(() => { for (const ws of echo.clients) ws.terminate(); }, 1000).unref(); // Those that do not answer.
  io.disconnectSockets(true);
  io.engine.close();
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  // A balancer keeps idle connections for the next request; close each as it falls idle.
  setInterval(() => server.closeIdleConnections(), 50).unref();
  setTimeout(() => process.exit(1), graceful).unref();
}
process.on('disconnect', () => stop('the cluster is gone')); // Only under cluster.js.
process.on('SIGTERM', () => stop('SIGTERM'));
process.on('SIGINT', () => stop('SIGINT'));
