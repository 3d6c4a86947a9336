const ws = new WebSocket(process.argv[2]);
ws.binaryType = "arraybuffer";
ws.onopen = () => { ws.send("hello"); ws.send(new Uint8Array(300000).fill(7)); };
ws.onmessage = (e) => { if (typeof e.data !== "string") { console.log(e.data.byteLength); ws.close(1000, "done"); } else console.log(e.data); };
ws.onclose = (e) => console.log("closed", e.code, e.reason);
ws.onerror = (e) => { console.log("error", e.message, e.error?.cause?.message ?? e.error?.message); };
