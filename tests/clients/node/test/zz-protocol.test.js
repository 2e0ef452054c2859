'use strict';
// Runs last: what the adapter said against the rules of the protocol while the
// other tests ran (see checkMessage in support.js).

const assert = require('assert');
const { breaches } = require('./support');

it('every message kept to the protocol', () => {
  assert.deepStrictEqual(breaches.slice(0, 20), [], `${breaches.length} breaches`);
});
