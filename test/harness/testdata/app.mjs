// The fixture server of the scenarios: plain Node.js, no packages.
//
//   NAME              what it answers with
//   PORT, SOCKET      where it listens
//   KEEPALIVE_MS      how long it keeps an idle connection (Node's default: 5000)
//   IDS               a file that gets a line for each X-Id that arrives; it survives kill -9
//   DELAY_MS          how long it thinks before it answers where nothing else is said
//   KEEPALIVE_HEADER  "off" keeps the Keep-Alive header out of its answers

import { createHash } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

const name = process.env.NAME ?? 'app';
const stats = { checks: 0, begun: 0, gone: 0, busy: 0, peak: 0, received: 0, sent: 0, open: 0 };
const ids = process.env.IDS && openSync(process.env.IDS, 'a');

const held = [];

// What its check answers, and what a share of all other requests does; a test
// changes them with /_set.
const mood = { health: 200, share: 0, code: 502 };
let owed = 0; // how much of a bad answer the share has run up to

// The block that downloads repeat; the Go side makes the same one.
const block = Buffer.alloc(1 << 20);
for (let i = 0; i < block.length; i++) block[i] = (i * 31 + (i >> 8)) & 0xff;

// watch notes a client that leaves before its answer is complete.
function watch(res) {
  stats.begun += 1;
  stats.busy += 1;
  stats.peak = Math.max(stats.peak, stats.busy);
  res.on('close', () => {
    stats.busy -= 1;
    if (!res.writableFinished) stats.gone += 1;
  });
}

const routes = {
  // What this process saw.
  '/_stats': (req, res) => res.end(JSON.stringify(stats)),

  // The check, and how a test makes the app ill: /_set?health=500, or health=0,
  // which never answers, or /_set?share=0.3&code=502 for exactly that share, in
  // turn, of all requests that are not named here.
  '/healthz': (req, res) => {
    stats.checks += 1;
    if (mood.health === 0) return;
    res.writeHead(mood.health);
    res.end(mood.health === 200 ? 'ok' : 'ill');
  },
  '/_set': (req, res, q) => {
    for (const [key, value] of q) mood[key] = Number(value);
    res.end('0');
  },

  // Counts the X-Id of the request as soon as it is here, whatever happens next.
  async '/count'(req, res, q) {
    writeSync(ids, `${req.headers['x-id']}\n`);
    for await (const _ of req);
    if (q.has('ms')) await sleep(Number(q.get('ms')));
    res.end(name);
  },

  // Answers with the request as it came.
  async '/echo'(req, res) {
    const body = [];
    for await (const chunk of req) body.push(chunk);
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({
      name, method: req.method, url: req.url, version: req.httpVersion,
      headers: req.rawHeaders, trailers: req.rawTrailers, body: Buffer.concat(body).toString('latin1'),
    }));
  },

  // Thinks for a while.
  async '/slow'(req, res, q) {
    watch(res);
    req.resume();
    await sleep(Number(q.get('ms') ?? 1000));
    res.end(name);
  },

  // Thinks until /_release is asked.
  async '/hold'(req, res) {
    watch(res);
    await new Promise((release) => held.push(release));
    res.end(name);
  },
  // Keeps the whole process busy, as heavy work on the event loop does.
  '/_block'(req, res, q) {
    for (const end = performance.now() + Number(q.get('ms')); performance.now() < end;);
    res.end('0');
  },
  '/_release': (req, res) => res.end(`${held.splice(0).map((release) => release()).length}`),

  // Sends a little every now and then, with or without a known length:
  // `count` pieces (0: until the client leaves), `ms` apart.
  async '/stream'(req, res, q) {
    watch(res);
    const count = Number(q.get('count') ?? 0), ms = Number(q.get('ms') ?? 20);
    const piece = '0123456789abcde\n';
    if (q.has('length')) res.setHeader('Content-Length', count * piece.length);
    for (let i = 0; (count === 0 || i < count) && !res.destroyed; i++) {
      res.write(piece);
      await sleep(ms);
    }
    res.end();
  },

  // Server-sent events, each with the time at which it was sent.
  async '/events'(req, res, q) {
    const count = Number(q.get('count') ?? 0), ms = Number(q.get('ms') ?? 100);
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    res.flushHeaders();
    for (let i = 0; (count === 0 || i < count) && !res.destroyed; i++) {
      await sleep(ms);
      res.write(`id: ${i}\ndata: ${performance.timeOrigin + performance.now()}\n\n`);
    }
    res.end();
  },

  // Takes a body of any size, at `bps` bytes per second if asked.
  async '/upload'(req, res, q) {
    const hash = createHash('sha256');
    const bps = Number(q.get('bps') ?? 0), began = Date.now();
    let size = 0;
    for await (const chunk of req) {
      hash.update(chunk);
      size += chunk.length;
      stats.received += chunk.length;
      if (bps) await sleep(Math.max(0, (size / bps) * 1000 - (Date.now() - began)));
    }
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ name, size, sha256: hash.digest('hex') }));
  },

  // Sends `bytes` bytes as fast as they are taken.
  async '/download'(req, res, q) {
    let left = Number(q.get('bytes'));
    if (!q.has('chunked')) res.setHeader('Content-Length', left);
    while (left > 0 && !res.destroyed) {
      const piece = left < block.length ? block.subarray(0, left) : block;
      left -= piece.length;
      if (!res.write(piece)) await Promise.race([once(res, 'drain'), once(res, 'close')]);
      stats.sent += piece.length;
    }
    res.end();
  },

  // A hint first, the answer after a while.
  async '/hints'(req, res) {
    res.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    await sleep(50);
    res.end(name);
  },

  // A body with a trailer.
  '/trailer'(req, res) {
    res.writeHead(200, { Trailer: 'X-Checksum' });
    res.write('body');
    res.addTrailers({ 'X-Checksum': 'abc123' });
    res.end();
  },

  '/status'(req, res, q) {
    res.writeHead(Number(q.get('code')));
    res.end();
  },
};

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  // Node adds Keep-Alive only where it also chose Connection itself.
  if (process.env.KEEPALIVE_HEADER === 'off') res.setHeader('Connection', 'keep-alive');
  try {
    const route = routes[url.pathname];
    if (route) await route(req, res, url.searchParams);
    else {
      owed += mood.share;
      if (owed >= 1) {
        owed -= 1;
        res.statusCode = mood.code;
      }
      if (process.env.DELAY_MS) await sleep(Number(process.env.DELAY_MS));
      res.end(name);
    }
  } catch (err) {
    // The client left in the middle of its body; there is nobody to tell.
    res.destroy(err);
  }
});
server.on('connection', (socket) => {
  stats.open += 1;
  socket.on('close', () => { stats.open -= 1; });
});
if (process.env.KEEPALIVE_MS) {
  server.keepAliveTimeout = Number(process.env.KEEPALIVE_MS);
  server.keepAliveTimeoutBuffer = 0; // Newer versions close a second later than they say.
}
server.requestTimeout = 0;

server.listen(process.env.SOCKET ?? { port: Number(process.env.PORT ?? 0), host: '127.0.0.1', backlog: 1024 }, () => {
  const a = server.address();
  console.log(`listening on ${typeof a === 'string' ? 'unix:' + a : '127.0.0.1:' + a.port}`);
});
