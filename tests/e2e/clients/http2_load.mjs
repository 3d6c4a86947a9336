// Eight requests at a time over HTTP/2 by prior knowledge until standard input ends; a connection that says goodbye is
// followed by another. Writes a line per hundred requests, and at the end one JSON line of what happened.
import http2 from "node:http2";

const base = new URL(process.argv[2]);
const tally = { done: 0, refused: 0, connections: 0, errors: [] };
let session = null;
let ending = false;
process.stdin.on("end", () => (ending = true)).resume();

function current() {
  if (session === null || session.closed || session.destroyed) {
    const made = (session = http2.connect(base.origin));
    tally.connections += 1;
    made.on("goaway", () => {
      if (session === made) session = null;
      made.close();
    });
    made.on("error", (error) => tally.errors.push(`session: ${error.message}`));
  }
  return session;
}

function ask() {
  return new Promise((resolve) => {
    const stream = current().request({ ":path": base.pathname });
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("error", () => {});
    stream.on("close", () => {
      if (stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM) tally.refused += 1;
      else if (status !== 200 || stream.rstCode !== 0) tally.errors.push(`status ${status}, code ${stream.rstCode}`);
      else if (++tally.done % 100 === 0) console.log(tally.done);
      resolve();
    });
    stream.resume();
  });
}

async function work() {
  while (!ending) await ask();
}

await Promise.all(Array.from({ length: 8 }, work));
session?.close();
console.log(JSON.stringify(tally));
