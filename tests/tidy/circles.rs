//! Circles of imports, between files and between rooms.
//!
//! A room is a top-level module, or a module directly in one that has files of its own. The files
//! directly in a top-level module are its own room, which may use all of its child rooms.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Facts, Place};
use crate::modules::FileId;

/// Who imports what, with the first place that does.
type Graph<N> = BTreeMap<N, BTreeMap<N, Place>>;

/// The most files that may import each other in a circle: a module and its child.
const MAX_FILES: usize = 2;

/// The circles of more than two files.
pub(crate) fn between_files(facts: &Facts) -> Vec<String> {
    let graph = files(facts);
    let circles = circles(&graph).into_iter().filter(|circle| circle.len() > MAX_FILES);
    let name = |file: &FileId| facts.files[*file].path.clone();
    circles.map(|circle| show(facts, &graph, &circle, name)).collect()
}

/// The circles of top-level modules, and those of the child rooms of one top-level module.
pub(crate) fn between_rooms(facts: &Facts) -> Vec<String> {
    let top: Vec<_> = facts.files.iter().map(|file| parts(&file.path)[0].to_owned()).collect();
    let mut found = between(facts, |file| Some(top[file].clone()));
    let rooms = child_rooms(facts);
    for parent in BTreeSet::from_iter(&top) {
        found.extend(between(facts, |file| {
            rooms.get(&file).filter(|_| top[file] == *parent).cloned()
        }));
    }
    found
}

fn between(facts: &Facts, room: impl Fn(FileId) -> Option<String>) -> Vec<String> {
    let mut graph = Graph::<String>::new();
    for (from, imports) in files(facts) {
        for (to, place) in imports {
            let (Some(from), Some(to)) = (room(from), room(to)) else { continue };
            if from != to {
                graph.entry(from).or_default().entry(to).or_insert(place);
            }
        }
    }
    circles(&graph).iter().map(|circle| show(facts, &graph, circle, String::clone)).collect()
}

/// The imports between files, without what only tests import and what is only passed on.
fn files(facts: &Facts) -> Graph<FileId> {
    let mut graph = Graph::<FileId>::new();
    for reference in &facts.references {
        let from = reference.place.file;
        if reference.test || reference.reexport {
            continue;
        }
        for &to in reference.files.iter().filter(|to| **to != from) {
            let imports = graph.entry(from).or_default();
            imports.entry(to).or_insert_with(|| reference.place.clone());
        }
    }
    graph
}

/// The room of each file that is in a child room.
fn child_rooms(facts: &Facts) -> BTreeMap<FileId, String> {
    let mut rooms = BTreeMap::<String, Vec<FileId>>::new();
    for (id, file) in facts.files.iter().enumerate().filter(|(_, file)| !file.test) {
        if let [top, child, ..] = parts(&file.path)[..] {
            rooms.entry(format!("{top}::{child}")).or_default().push(id);
        }
    }
    // A single file is in its parent's room.
    let rooms = rooms.into_iter().filter(|(_, files)| files.len() > 1);
    rooms
        .flat_map(|(room, files)| files.into_iter().map(move |file| (file, room.clone())))
        .collect()
}

/// The names of the modules down to a file.
pub(crate) fn parts(path: &str) -> Vec<&str> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    inside.strip_suffix(".rs").unwrap_or(inside).split('/').filter(|part| *part != "mod").collect()
}

fn show<N: Ord>(
    facts: &Facts,
    graph: &Graph<N>,
    circle: &[N],
    name: impl Fn(&N) -> String,
) -> String {
    let names: Vec<_> = circle.iter().map(&name).collect();
    let mut text = format!("{} in a circle: {}", circle.len(), names.join(", "));
    for from in circle {
        for (to, place) in graph[from].iter().filter(|(to, _)| circle.contains(to)) {
            text.push_str(&format!("\n    {} imports {}", facts.show(place), name(to)));
        }
    }
    text
}

/// The strongly connected components of more than one node, each in order.
fn circles<N: Ord + Clone>(graph: &Graph<N>) -> Vec<Vec<N>> {
    let mut tarjan = Tarjan {
        graph,
        index: BTreeMap::new(),
        low: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for node in graph.keys() {
        if !tarjan.index.contains_key(node) {
            tarjan.visit(node);
        }
    }
    let mut found = tarjan.found;
    found.iter_mut().for_each(|circle| circle.sort());
    found.sort();
    found
}

/// Tarjan's algorithm for strongly connected components.
struct Tarjan<'a, N> {
    graph: &'a Graph<N>,
    index: BTreeMap<&'a N, usize>,
    low: BTreeMap<&'a N, usize>,
    stack: Vec<&'a N>,
    found: Vec<Vec<N>>,
}

impl<'a, N: Ord + Clone> Tarjan<'a, N> {
    fn visit(&mut self, node: &'a N) {
        let index = self.index.len();
        self.index.insert(node, index);
        self.low.insert(node, index);
        self.stack.push(node);
        for next in self.graph.get(node).into_iter().flat_map(BTreeMap::keys) {
            let reached = match self.index.get(next) {
                None => {
                    self.visit(next);
                    self.low[next]
                }
                Some(index) if self.stack.contains(&next) => *index,
                Some(_) => continue,
            };
            let low = self.low[node].min(reached);
            self.low.insert(node, low);
        }
        if self.low[node] == index {
            let start = self.stack.iter().position(|other| *other == node).expect("it was pushed");
            let circle = self.stack.split_off(start);
            if circle.len() > 1 {
                self.found.push(circle.into_iter().cloned().collect());
            }
        }
    }
}
