//! Disjoint sets (union-find): which of the numbers 0 to n - 1 belong together.

/// Numbers in sets that can be joined.
///
/// ```
/// let mut sets = cagan::data::DisjointSets::new(4);
/// sets.join(3, 1);
/// assert_eq!(sets.first(3), 1);
/// assert_eq!(sets.groups(), [vec![0], vec![1, 3], vec![2]]);
/// ```
#[derive(Clone, Debug)]
pub struct DisjointSets {
    /// An earlier number of the same set, or the number itself.
    parents: Vec<usize>,
}

impl DisjointSets {
    /// Puts each number into a set of its own.
    pub fn new(count: usize) -> Self {
        DisjointSets { parents: (0..count).collect() }
    }

    /// Returns the smallest number of the set that `number` is in.
    pub fn first(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    /// Joins the sets of two numbers.
    pub fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.parents[one.max(other)] = one.min(other);
    }

    /// Lists the sets by their smallest numbers, each in ascending order.
    pub fn groups(mut self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places = vec![0; self.parents.len()];
        for number in 0..self.parents.len() {
            match self.first(number) {
                first if first == number => {
                    places[number] = groups.len();
                    groups.push(vec![number]);
                }
                first => groups[places[first]].push(number),
            }
        }
        groups
    }
}
