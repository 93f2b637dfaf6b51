// An app that announces itself: it registers in Consul when it listens, and
// leaves before it stops, so that no request is lost by a deploy. Plain Node.js,
// no packages.
//
//   PORT              where it listens; default: any free port
//   CONSUL_HTTP_ADDR  the agent; default 127.0.0.1:8500
//   SERVICE           what it is called there; default web

'use strict';
const http = require('node:http');

const agent = `http://${process.env.CONSUL_HTTP_ADDR ?? '127.0.0.1:8500'}`;
const service = process.env.SERVICE ?? 'web';

const server = http.createServer((req, res) => {
  if (req.url === '/healthz') return res.end('ok\n');
  res.end(`process ${process.pid}\n`);
});

async function consul(path, body) {
  const headers = process.env.CONSUL_HTTP_TOKEN ? { 'X-Consul-Token': process.env.CONSUL_HTTP_TOKEN } : {};
  const res = await fetch(`${agent}/v1/agent/${path}`, {
    method: 'PUT', headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(2000),
  });
  if (!res.ok) throw new Error(`Consul answered ${res.status} to ${path}: ${await res.text()}`);
}

server.listen(process.env.PORT ?? 0, '127.0.0.1', () => {
  const { port } = server.address();
  const id = `${service}-${port}`;
  console.log(`listening on 127.0.0.1:${port}`);

  // Again and again, because Consul may not be there yet, or may come back
  // without its data. It need not check the app: Steelyard does, and sees more.
  let told, next;
  const register = async () => {
    const news = await consul('service/register', {
      Name: service, ID: id, Address: '127.0.0.1', Port: port, Weights: { Passing: 1, Warning: 1 },
      Meta: { pid: `${process.pid}`, node: process.version },
    }).then(() => `registered as ${id}`, (err) => `cannot register: ${err.cause?.message ?? err.message}`);
    if (news !== told) console.log(told = news);
    next = setTimeout(() => { registering = register(); }, news.startsWith('registered') ? 5000 : 1000);
  };
  let registering = register();

  const leave = async () => {
    // First out of Consul, so that nothing new comes; then a moment in which
    // Steelyard hears of it; then what is in flight ends, and the process.
    await registering;
    clearTimeout(next);
    await consul(`service/deregister/${id}`).catch((err) => console.error(err.cause?.message ?? err.message));
    setTimeout(() => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
    }, 500);
  };
  process.once('SIGTERM', leave);
  process.once('SIGINT', leave);
});
