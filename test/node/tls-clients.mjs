// Clients of a steelyard that speaks TLS: node tls-clients.mjs PORT CA CERT KEY
// The certificate is that of a client called Ann.

import assert from 'node:assert/strict';
import https from 'node:https';
import tls from 'node:tls';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { WebSocket } from 'ws';

const [port, caFile, certFile, keyFile] = process.argv.slice(2);
const ca = readFileSync(caFile), cert = readFileSync(certFile), key = readFileSync(keyFile);
const server = { host: '127.0.0.1', port: Number(port), servername: 'app.test', ca };

// ask sends a request and resolves with the answer and its socket.
function ask(options, body) {
  return new Promise((resolve, reject) => {
    const req = https.request({ ...server, ...options, headers: { host: 'app.test', ...options.headers } }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve({ status: res.statusCode, body: Buffer.concat(parts).toString(), socket: req.socket, reused: req.reusedSocket }));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(body);
  });
}

function header(echo, name) {
  const i = echo.headers.findIndex((h, n) => n % 2 === 0 && h.toLowerCase() === name);
  return i < 0 ? undefined : echo.headers[i + 1];
}

// Keep-alive: ten requests, one connection.
const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
for (let i = 0; i < 10; i++) {
  const { status, body, socket, reused } = await ask({ path: '/echo', agent });
  const echo = JSON.parse(body);
  assert.equal(status, 200);
  assert.equal(reused, i > 0);
  assert.equal(header(echo, 'x-forwarded-proto'), 'https');
  assert.equal(header(echo, 'x-client'), undefined);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
}
agent.destroy();

// Both versions, and both kinds of keys.
for (const [options, type] of [
  [{ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }, 'RSA'],
  [{ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-CHACHA20-POLY1305' }, 'ECDSA'],
  [{ minVersion: 'TLSv1.3' }, 'ECDSA'],
]) {
  const { status, socket } = await ask({ path: '/', agent: false, ...options });
  assert.equal(status, 200, type);
  assert.ok(socket.getCipher().name, type);
}

// A certificate of the client; what it claims in a header is dropped.
{
  const { body } = await ask({ path: '/echo', agent: false, cert, key, headers: { 'x-client': 'root' } });
  assert.equal(header(JSON.parse(body), 'x-client'), 'Ann');
  const { body: none } = await ask({ path: '/echo', agent: false, headers: { 'x-client': 'root' } });
  assert.equal(header(JSON.parse(none), 'x-client'), undefined);
}

// A session is resumed.
{
  const open = (session) => new Promise((resolve, reject) => {
    const socket = tls.connect({ ...server, session });
    let ticket;
    socket.on('session', (s) => { ticket = s; });
    socket.on('error', reject);
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n'));
    socket.resume();
    socket.on('end', () => resolve({ ticket, reused: socket.isSessionReused() }));
  });
  const first = await open();
  assert.ok(first.ticket, 'a ticket came');
  const second = await open(first.ticket);
  assert.equal(second.reused, true, 'the session is resumed');
}

// An upload of 10 MiB.
{
  const data = randomBytes(10 << 20);
  const { body } = await ask({ path: '/upload', method: 'POST', agent: false }, data);
  assert.deepEqual(JSON.parse(body), { name: 'a', size: data.length, sha256: createHash('sha256').update(data).digest('hex') });
}

// What browsers offer by ALPN, and what is not spoken here.
{
  const { status, socket } = await ask({ path: '/', agent: false, ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  assert.equal(status, 200);
  await assert.rejects(ask({ path: '/', agent: false, ALPNProtocols: ['h2'] }), /alert|ECONNRESET|no application protocol/i);
}

// A WebSocket.
{
  const ws = new WebSocket(`wss://127.0.0.1:${port}/ws`, { ca, servername: 'app.test', headers: { host: 'app.test' } });
  await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
  for (let i = 0; i < 50; i++) {
    const message = `${i}:${'x'.repeat(i * 500)}`;
    const back = new Promise((resolve) => { ws.once('message', resolve); });
    ws.send(message);
    assert.equal((await back).toString(), message);
  }
  const closed = new Promise((resolve) => { ws.on('close', resolve); });
  ws.close(1000, 'bye');
  assert.equal(await closed, 1000);
}

console.log('all is well');
process.exit(0);
