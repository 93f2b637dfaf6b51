// An app that speaks TLS itself: plain Node.js, no packages.
//
//   NAME           what it answers with
//   CERT, KEY      PEM files
//   CLIENT_CA      a PEM file; with it clients must show a certificate of that CA
//   MAX_VERSION    the newest TLS it speaks, for example TLSv1.2
//   KEEPALIVE_MS   how long it keeps an idle connection (Node's default: 5000)

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const env = process.env;
const read = (path) => (path ? readFileSync(path) : undefined);
const stats = { connections: 0, checks: 0 };

const server = createServer(
  {
    cert: read(env.CERT),
    key: read(env.KEY),
    ca: read(env.CLIENT_CA),
    requestCert: Boolean(env.CLIENT_CA),
    rejectUnauthorized: Boolean(env.CLIENT_CA),
    maxVersion: env.MAX_VERSION || undefined,
  },
  (req, res) => {
    const path = req.url.split('?')[0];
    if (path === '/healthz') {
      stats.checks += 1;
      res.end('ok');
      return;
    }
    if (path === '/events') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      let n = 0;
      const timer = setInterval(() => {
        res.write(`data: ${(n += 1)}\n\n`);
        if (n === 3) {
          clearInterval(timer);
          res.end();
        }
      }, 30);
      return;
    }
    if (path === '/until-close') { // a body that ends with its connection
      res.socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of it');
      if (req.url.endsWith('?cut')) setTimeout(() => res.socket._handle.close(), 50);
      else res.socket.end(', and the rest');
      return;
    }
    const hash = createHash('sha256');
    let received = 0;
    req.on('data', (b) => { hash.update(b); received += b.length; });
    req.on('end', () => {
      const s = req.socket;
      res.setHeader('Content-Type', 'application/json');
      res.end(JSON.stringify({
        name: env.NAME, path, method: req.method, encrypted: Boolean(s.encrypted), sni: s.servername || '',
        version: s.getProtocol(), resumed: s.isSessionReused(), port: s.remotePort, alpn: s.alpnProtocol || '',
        client: s.getPeerCertificate().subject?.CN ?? '', received, sha256: hash.digest('hex'),
        connections: stats.connections, checks: stats.checks,
      }));
    });
  },
);

// A WebSocket that is none: after 101 all bytes come back.
server.on('upgrade', (req, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.write(head);
  socket.pipe(socket);
});
server.on('secureConnection', () => { stats.connections += 1; });
if (env.KEEPALIVE_MS) server.keepAliveTimeout = Number(env.KEEPALIVE_MS);
server.listen(Number(env.PORT), '127.0.0.1', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
