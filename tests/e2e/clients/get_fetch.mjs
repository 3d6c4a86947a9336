// Asks a URL with Node's own fetch: the token comes from the environment.
const headers = { authorization: `Bearer ${process.env.TICKETS_TOKEN}` };
const answer = await fetch(process.argv[2], { headers });
if (!answer.ok) throw new Error(`status ${answer.status}`);
console.log((await answer.json()).method);
