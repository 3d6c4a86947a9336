// Talks over Node's own WebSocket: a text and a binary message, which the service echoes, then an orderly close.
const socket = new WebSocket(process.argv[2]);
socket.binaryType = "arraybuffer";
socket.onopen = () => {
  socket.send("hello");
  socket.send(new Uint8Array(300000).fill(7));
};
socket.onmessage = ({ data }) => {
  if (typeof data === "string") {
    console.log(data);
  } else {
    console.log(data.byteLength);
    socket.close(1000, "done");
  }
};
socket.onclose = ({ code, reason }) => console.log("closed", code, reason);
socket.onerror = () => { process.exitCode = 1; };
