//! Where things are on a screen of a given size.

use super::screen::Area;

/// Smaller than this nothing useful fits.
pub(super) const LEAST: (usize, usize) = (40, 10);
/// From here on all panes are shown, below only one beside the source.
const ENOUGH: (usize, usize) = (72, 18);

/// A part of the screen that the user can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Source,
    Stack,
    Variables,
    Watches,
    Output,
}

impl Pane {
    pub(super) const ALL: [Self; 5] =
        [Self::Source, Self::Stack, Self::Variables, Self::Watches, Self::Output];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Source => "Source",
            Self::Stack => "Stack",
            Self::Variables => "Variables",
            Self::Watches => "Watches",
            Self::Output => "Output",
        }
    }

    /// The one that `steps` further on; negative for back.
    pub(super) fn next(self, steps: isize) -> Self {
        let count = Self::ALL.len().cast_signed();
        let index = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0).cast_signed();
        Self::ALL[(index + steps).rem_euclid(count).unsigned_abs()]
    }
}

/// Each pane's place, its title in the first row, and the two lines at the
/// bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    panes: [Area; 5],
    /// The line between the source and what is beside it.
    pub(super) border: Option<Area>,
    pub(super) status: Area,
    pub(super) keys: Area,
}

impl Layout {
    /// The layout of a screen; `None` if it is too small. `other` is the pane to
    /// show beside the source if there is room for one only.
    pub(super) fn new(width: usize, height: usize, other: Pane) -> Option<Self> {
        if width < LEAST.0 || height < LEAST.1 {
            return None;
        }
        let bottom = |row| Area { x: 0, y: height - row, width, height: 1 };
        let rest = height - 2;
        let mut layout =
            Self { panes: [Area::default(); 5], border: None, status: bottom(2), keys: bottom(1) };
        if width < ENOUGH.0 || height < ENOUGH.1 {
            let lower = (rest * 2 / 5).max(3);
            let upper = rest - lower;
            layout.panes[Pane::Source as usize] = Area { x: 0, y: 0, width, height: upper };
            let other = if other == Pane::Source { Pane::Output } else { other };
            layout.panes[other as usize] = Area { x: 0, y: upper, width, height: lower };
            return Some(layout);
        }
        let output = (rest * 3 / 10).clamp(6, 16);
        let upper = rest - output;
        let side = (width * 2 / 5).clamp(30, 70);
        let main = width - side - 1;
        let (stack, watches) = ((upper / 4).max(4), (upper / 4).max(4));
        let variables = upper - stack - watches;
        let beside = |y, height| Area { x: main + 1, y, width: side, height };
        layout.panes = [
            Area { x: 0, y: 0, width: main, height: upper },
            beside(0, stack),
            beside(stack, variables),
            beside(stack + variables, watches),
            Area { x: 0, y: upper, width, height: output },
        ];
        layout.border = Some(Area { x: main, y: 0, width: 1, height: upper });
        Some(layout)
    }

    /// A pane's place, with its title; nothing if it is not shown.
    pub(super) fn pane(&self, pane: Pane) -> Area {
        self.panes[pane as usize]
    }

    /// Rows below the title.
    pub(super) fn rows(&self, pane: Pane) -> usize {
        self.pane(pane).height.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each cell is covered by something.
    fn covered(layout: &Layout, width: usize, height: usize) -> Vec<u8> {
        let mut cells = vec![0; width * height];
        let others = [layout.status, layout.keys];
        for area in layout.panes.iter().chain(layout.border.iter()).chain(&others) {
            for y in area.y..area.y + area.height {
                for x in area.x..area.x + area.width {
                    cells[y * width + x] += 1;
                }
            }
        }
        cells
    }

    #[test]
    fn everything_is_covered_once_at_every_size() {
        for width in LEAST.0..200 {
            for height in LEAST.1..80 {
                let layout = Layout::new(width, height, Pane::Stack).unwrap();
                let cells = covered(&layout, width, height);
                assert!(cells.iter().all(|count| *count == 1), "{width}x{height}: {layout:?}");
                assert!(layout.rows(Pane::Source) >= 3, "{width}x{height}");
            }
        }
        assert_eq!(Layout::new(39, 24, Pane::Output), None);
        assert_eq!(Layout::new(80, 9, Pane::Output), None);
    }

    #[test]
    fn a_usual_terminal_shows_all_panes() {
        let layout = Layout::new(80, 24, Pane::Source).unwrap();
        let rows: Vec<_> = Pane::ALL.iter().map(|pane| layout.rows(*pane)).collect();
        assert_eq!(rows, [15, 3, 7, 3, 5]);
        assert_eq!(layout.pane(Pane::Source).width, 47);
    }

    #[test]
    fn panes_follow_each_other_in_a_circle() {
        assert_eq!(Pane::Output.next(1), Pane::Source);
        assert_eq!(Pane::Source.next(-1), Pane::Output);
        assert_eq!(Pane::Stack.next(1), Pane::Variables);
    }
}
