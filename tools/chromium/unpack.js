// Unpacks what a package carries: node unpack.js FROM.br TO. Node is there wherever npm is, and
// reads Brotli, which tar and Python do not.
const { createReadStream, createWriteStream } = require("node:fs");
const { pipeline } = require("node:stream");
const { createBrotliDecompress } = require("node:zlib");

const [from, to] = process.argv.slice(2);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to), (problem) => {
  if (problem) {
    console.error(`${from}: cannot be unpacked: ${problem.message}`);
    process.exitCode = 1;
  }
});
