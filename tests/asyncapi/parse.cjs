// What AsyncAPI's own parser says of the document on standard input: JSON, [[severity, where, what], …].
// A severity of 0 is an error, 1 a warning, and beyond are hints. usage: node parse.cjs NODE_MODULES
"use strict";

const { readFileSync } = require("node:fs");
const { Parser } = require(`${process.argv[2]}/@asyncapi/parser`);

new Parser()
  .parse(readFileSync(0, "utf8"))
  .then(({ diagnostics }) =>
    process.stdout.write(JSON.stringify(diagnostics.map((one) => [one.severity, one.path.join("."), one.message]))),
  );
