'use strict';
// What the tests with Penlight share: where Debian's files are, and how to find
// a line in them by what it says.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const support = require('../node/test/support');

const PENLIGHT = '/usr/share/lua/5.4/pl';
assert.ok(fs.existsSync(path.join(PENLIGHT, 'List.lua')), 'install the Debian package lua-penlight');

const here = (name) => path.join(fs.realpathSync(__dirname), name);
/** A file of Penlight, as the script loads it and as the file system knows it. */
const pl = (name) => path.join(PENLIGHT, name);
const real = (file) => fs.realpathSync(file);

/** The line of the first match of `what` in a file, plus `offset`. */
function find(file, what, offset = 0) {
  const index = support.text(file).split('\n').findIndex((line) => line.includes(what));
  assert.ok(index >= 0, `${file} does not say ${what}`);
  return index + 1 + offset;
}

/** Waits for a stop at a line of a file of Penlight, under whichever of its names. */
async function stoppedIn(session, reason, file, line) {
  const stop = await session.stopped(reason);
  assert.strictEqual(stop.top.source?.path && real(stop.top.source.path), real(file));
  assert.strictEqual(stop.top.line, line);
  return stop;
}

module.exports = { find, here, pl, real, stoppedIn };
