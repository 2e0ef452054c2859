//! Chance that is the same each time, for tests with garbage.

/// Numbers that look random and are the same each time (xorshift).
pub(crate) struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// One of several.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    /// So many bytes at most.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.roll(most);
        (0..length).map(|_| u8::try_from(self.roll(256)).expect("a byte")).collect()
    }

    /// A message that has been cut, garbled, doubled or drowned in noise.
    pub(crate) fn mutate(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.roll(4) {
            if bytes.is_empty() {
                return self.bytes(64);
            }
            let at = self.roll(bytes.len());
            match self.roll(6) {
                0 => bytes.truncate(at),
                1 => bytes[at] = u8::try_from(self.roll(256)).expect("a byte"),
                2 => bytes.insert(at, u8::try_from(self.roll(256)).expect("a byte")),
                3 => {
                    let noise = self.bytes(200);
                    bytes.splice(at..at, noise);
                }
                4 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
                _ => drop(bytes.drain(at..(at + 8).min(bytes.len()))),
            }
        }
        bytes
    }
}
