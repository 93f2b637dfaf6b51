// Starts one worker per port and keeps them running: `npm run cluster`.
//
//   PORTS=3001,3002,3003 node cluster.js

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ports = (process.env.PORTS ?? '3001,3002,3003').split(',');
const script = fileURLToPath(new URL('server.js', import.meta.url));
const workers = new Map();
let stopping = false;

function start(port) {
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, PORT: port },
    // A process group of its own, so that Ctrl-C reaches it once, from here.
    detached: true,
    // The channel tells it when this process is gone, however that came about.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  workers.set(port, child);
  child.on('exit', (code, signal) => {
    workers.delete(port);
    if (stopping) {
      if (workers.size === 0) process.exit(0);
      return;
    }
    console.log(`the worker on ${port} ended (${signal ?? code}); starting it again`);
    setTimeout(() => stopping || start(port), 500);
  });
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (!stopping) for (const child of workers.values()) child.kill('SIGTERM');
    stopping = true;
    if (workers.size === 0) process.exit(0);
  });
}

ports.forEach(start);
