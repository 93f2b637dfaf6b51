// The app behind constant load: plain Node.js, no packages. What it answers
// depends on the id of the request (X-Id) alone, so that whoever asked can tell
// whether an answer is his own, whole, and nobody else's. Package load makes the
// same bodies.
//
//   NAME, PORT   what it answers with, where it listens
//   IDS          a file that gets a line for each POST that arrives; it survives kill -9
//   DELAY_MS     how long it thinks
//   BACKLOG      how many connections wait for it while it is busy (1024)

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const name = process.env.NAME ?? 'app';
const ids = process.env.IDS && openSync(process.env.IDS, 'a');

// What it does, changed by /_set?behave=midbody&delay=200. The check at /healthz
// goes well whatever it is, but for health=503.
const mood = { behave: 'well', delay: process.env.DELAY_MS ?? '0', health: '200' };

// sum is a small hash of an id, which decides on lengths.
const sum = (id) => [...Buffer.from(id)].reduce((h, c) => (h * 31 + c) % 65521, 7);
const lines = (id, n) => `${id}\n`.repeat(n);
const answer = (id) => lines(id, 1 + (sum(id) % 700));
const question = (id) => lines(id, 1 + (sum(`${id}?`) % 200));

// What no client may ever see as an answer of his own.
const garbage = [
  () => '220 mail.example.com ESMTP\r\n',
  () => 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nwrong!!',
  () => 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nwrong',
  () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nwrong\r\n0\r\n\r\n',
  () => Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 89) & 0xff)),
  // A whole answer, and another one that nobody asked for.
  (id) => `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\nX-Name: ${name}\r\nContent-Length: ${answer(id).length}\r\n\r\n${answer(id)}`
    + 'HTTP/1.1 200 OK\r\nX-Id: nobody\r\nContent-Length: 5\r\n\r\nwrong',
];
let turn = 0;

// item answers a request well.
async function item(req, res) {
  const id = req.headers['x-id'];
  if (req.method === 'POST') {
    writeSync(ids, `${id}\n`); // As soon as it is here, whatever happens next.
    const body = [];
    for await (const chunk of req) body.push(chunk);
    if (Buffer.concat(body).toString() !== question(id)) {
      res.writeHead(500);
      return res.end('the body is not the one that was sent');
    }
  }
  if (mood.delay !== '0') await sleep(Number(mood.delay));
  const body = answer(id);
  res.setHeader('X-Id', id);
  res.setHeader('X-Name', name);
  if (sum(id) % 2 === 0) {
    res.setHeader('Content-Length', body.length);
    return res.end(body);
  }
  res.write(body.slice(0, body.length / 2)); // Chunked.
  return res.end(body.slice(body.length / 2));
}

const behaviours = {
  well: item,

  // Resets the connection in the middle of the body.
  async midbody(req, res) {
    const id = req.headers['x-id'];
    if (req.method === 'POST') writeSync(ids, `${id}\n`);
    req.resume();
    const body = answer(id) + answer(id);
    res.writeHead(200, { 'X-Id': id, 'X-Name': name, ...(sum(id) % 2 ? {} : { 'Content-Length': body.length }) });
    res.write(body.slice(0, body.length / 2));
    await sleep(2); // So that some of it is on its way.
    req.socket.resetAndDestroy();
  },

  // Answers with what is no answer, and sometimes with one too many.
  garbage(req) {
    const id = req.headers['x-id'];
    if (req.method === 'POST') writeSync(ids, `${id}\n`);
    req.resume();
    req.socket.end(garbage[turn++ % garbage.length](id));
  },
};

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  try {
    switch (url.pathname) {
      case '/healthz':
        res.writeHead(Number(mood.health));
        return res.end();
      case '/_set':
        for (const [key, value] of url.searchParams) mood[key] = value;
        return res.end('0');
      // Events, each with the id of who asked.
      case '/events':
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Id': req.headers['x-id'] });
        for (let i = 0; i < Number(url.searchParams.get('count')) && !res.destroyed; i++) {
          await sleep(Number(url.searchParams.get('ms')));
          res.write(`id: ${i}\ndata: ${req.headers['x-id']}\n\n`);
        }
        return res.end();
      // A body of any size: its hash comes back.
      case '/upload': {
        const hash = createHash('sha256');
        for await (const chunk of req) hash.update(chunk);
        res.setHeader('X-Id', req.headers['x-id']);
        return res.end(hash.digest('hex'));
      }
      // So many lines with the id, as fast as they are taken.
      case '/download': {
        res.setHeader('X-Id', req.headers['x-id']);
        const gone = once(res, 'close');
        gone.catch(() => {}); // An error is a close, too.
        for (let left = Number(url.searchParams.get('lines')); left > 0 && !res.destroyed; left -= 1000) {
          if (!res.write(lines(req.headers['x-id'], Math.min(left, 1000)))) {
            await Promise.race([once(res, 'drain'), gone]);
          }
        }
        return res.end();
      }
      default:
        return await behaviours[mood.behave](req, res);
    }
  } catch (err) {
    res.destroy(err); // The client left in the middle of its body.
  }
});

// A WebSocket that says everything again, for masked frames below 64 KiB.
server.on('upgrade', (req, socket, head) => {
  socket.on('error', () => {}); // Who leaves, leaves.
  // The key is always the one of RFC 6455, section 1.3.
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
    + 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n');
  let rest = head;
  const take = () => {
    for (;;) {
      if (rest.length < 2) return;
      const short = rest[1] & 0x7f;
      const at = short === 126 ? 4 : 2;
      if (rest.length < at) return;
      const size = short === 126 ? rest.readUInt16BE(2) : short;
      if (rest.length < at + 4 + size) return;
      const frame = Buffer.concat([rest.subarray(0, at), rest.subarray(at + 4, at + 4 + size)]);
      frame[1] &= 0x7f;
      for (let i = 0; i < size; i++) frame[at + i] ^= rest[at + (i % 4)];
      const closes = (frame[0] & 0x0f) === 8;
      socket.write(frame);
      rest = rest.subarray(at + 4 + size);
      if (closes) return void socket.end();
    }
  };
  socket.on('data', (data) => { rest = Buffer.concat([rest, data]); take(); });
  socket.on('end', () => socket.end());
  take();
});
server.requestTimeout = 0;

server.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1', backlog: Number(process.env.BACKLOG ?? 1024) }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
