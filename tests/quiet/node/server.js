const app = require('/usr/share/nodejs/express')();
app.get('/', (request, response) => response.json({ ok: true }));
app.listen(3000);
