// Socket.IO clients for the scenarios: each keeps its own cookies, connects,
// has three messages echoed and leaves. Prints what happened as JSON.
//
//   node socketio-clients.mjs URL COUNT TRANSPORTS

import { io } from 'socket.io-client';

const [url, count, transports] = process.argv.slice(2);
const result = { Completed: 0, Transports: {}, Errors: {} };

function session() {
  return new Promise((done) => {
    const socket = io(url, {
      transports: transports.split(','),
      withCredentials: true, // In Node.js: keep cookies, as a browser does.
      forceNew: true,
      reconnection: false,
      timeout: 10_000,
    });
    const end = (error) => {
      if (error) result.Errors[error] = (result.Errors[error] ?? 0) + 1;
      else result.Completed += 1;
      socket.removeAllListeners();
      socket.disconnect();
      done();
    };
    socket.on('connect_error', (err) => end(err.context?.responseText ?? err.message));
    socket.on('disconnect', (reason, details) => end(details?.context?.responseText ?? reason));
    socket.on('connect', async () => {
      try {
        for (let i = 0; i < 3; i++) {
          // With more than one transport the last message waits for the upgrade.
          if (i === 2 && transports.includes(',') && socket.io.engine.transport.name === 'polling') {
            await new Promise((upgraded) => socket.io.engine.once('upgrade', upgraded));
          }
          const answer = await socket.timeout(10_000).emitWithAck('echo', `message ${i}`);
          if (answer.message !== `message ${i}`) throw new Error(`echo was ${JSON.stringify(answer)}`);
        }
        const name = socket.io.engine.transport.name;
        result.Transports[name] = (result.Transports[name] ?? 0) + 1;
        end();
      } catch (err) {
        end(err.message);
      }
    });
  });
}

// Ten at a time, as many as the count says.
let left = Number(count);
await Promise.all(Array.from({ length: 10 }, async () => {
  while (left-- > 0) await session();
}));
console.log(JSON.stringify(result));
process.exit(0);
