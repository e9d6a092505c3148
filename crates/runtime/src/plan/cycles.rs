//! The order in which nodes can be evaluated, and the cycles in which they can't: strongly connected components after Tarjan, which come
//! out with whoever is referred to before whoever refers.

use std::collections::HashMap;
use std::sync::Arc;

use syntax::{Diagnostic, Diagnostics};

use super::{Dependency, Kind, PlannedNode};

/// How many references of a cycle are spelled out.
const MAX_SHOWN: usize = 8;

/// The evaluation order: dependencies first, settings before components, else as in the source. Notes every cycle; the order of its
/// members means nothing.
pub(super) fn order(nodes: &[PlannedNode], findings: &mut Diagnostics) -> Vec<usize> {
    let index: HashMap<&Arc<str>, usize> = nodes.iter().enumerate().map(|(index, node)| (&node.id, index)).collect();
    let edges: Vec<Vec<usize>> =
        nodes.iter().map(|node| node.dependencies.iter().filter_map(|dependency| index.get(&dependency.id).copied()).collect()).collect();
    let mut roots: Vec<usize> = (0..nodes.len()).collect();
    roots.sort_by_key(|root| nodes.get(*root).is_none_or(|node| matches!(node.kind, Kind::Component(_))));
    let groups = Search::run(&edges, &roots);
    for group in &groups {
        findings.extend(complaints(nodes, group));
    }
    groups.into_iter().flatten().collect()
}

/// What is to be said about a strongly connected component.
fn complaints(nodes: &[PlannedNode], group: &[usize]) -> Vec<Diagnostic> {
    let mut sorted = group.to_vec();
    sorted.sort_unstable();
    let members: Vec<&PlannedNode> = sorted.iter().filter_map(|index| nodes.get(*index)).collect();
    let mut found: Vec<Diagnostic> = members
        .iter()
        .filter_map(|node| Some((node, node.dependencies.iter().find(|dependency| dependency.id == node.id)?)))
        .map(|(node, own)| Diagnostic::error(node.block.file(), own.span, format!("self reference: {}", node.id)))
        .collect();
    if members.len() > 1 {
        found.extend(cycle(&members));
    }
    found
}

fn cycle(members: &[&PlannedNode]) -> Option<Diagnostic> {
    let within = |node: &PlannedNode| -> Option<Dependency> {
        let inside = |dependency: &&Dependency| dependency.id != node.id && members.iter().any(|member| member.id == dependency.id);
        node.dependencies.iter().find(inside).cloned()
    };
    let links: Vec<(&PlannedNode, Dependency)> = members.iter().filter_map(|node| Some((*node, within(node)?))).collect();
    let told = links.iter().take(MAX_SHOWN).map(|(node, to)| {
        let start = to.span.start;
        format!("{} refers to {} at {}:{start}", node.id, to.id, node.block.file())
    });
    let help = told.collect::<Vec<_>>().join(", ");
    let ids: Vec<&str> = members.iter().map(|node| &*node.id).collect();
    let (first, to) = links.first()?;
    Some(Diagnostic::error(first.block.file(), to.span, format!("cycle: {}", ids.join(", "))).with_help(Some(help)))
}

/// Tarjan's search with its recursion spelled out: a chain of references may be longer than the stack is deep.
struct Search<'a> {
    edges: &'a [Vec<usize>],
    state: Vec<State>,
    /// Nodes whose group is not complete yet.
    open: Vec<usize>,
    groups: Vec<Vec<usize>>,
    entered: usize,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// When the node was entered, from 1; 0 if it was not.
    entered: usize,
    /// The earliest open node that can be reached.
    lowest: usize,
    open: bool,
}

impl<'a> Search<'a> {
    fn run(edges: &'a [Vec<usize>], roots: &[usize]) -> Vec<Vec<usize>> {
        let mut search = Self { edges, state: vec![State::default(); edges.len()], open: vec![], groups: vec![], entered: 0 };
        for root in roots {
            if search.state[*root].entered == 0 {
                search.visit(*root);
            }
        }
        search.groups
    }

    fn visit(&mut self, root: usize) {
        self.enter(root);
        // Each node on the way with the number of its edges that were followed.
        let mut way = vec![(root, 0)];
        while let Some((node, followed)) = way.last_mut() {
            let node = *node;
            let next = self.edges[node].get(*followed).copied();
            *followed += 1;
            match next {
                Some(to) if self.state[to].entered == 0 => {
                    self.enter(to);
                    way.push((to, 0));
                }
                Some(to) if self.state[to].open => self.reaches(node, self.state[to].entered),
                Some(_) => {}
                None => {
                    way.pop();
                    if let Some((parent, _)) = way.last() {
                        self.reaches(*parent, self.state[node].lowest);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.entered += 1;
        self.state[node] = State { entered: self.entered, lowest: self.entered, open: true };
        self.open.push(node);
    }

    fn reaches(&mut self, node: usize, entered: usize) {
        self.state[node].lowest = self.state[node].lowest.min(entered);
    }

    fn leave(&mut self, node: usize) {
        if self.state[node].lowest != self.state[node].entered {
            return;
        }
        let begin = self.open.iter().rposition(|open| *open == node).unwrap_or_default();
        let group = self.open.split_off(begin);
        group.iter().for_each(|member| self.state[*member].open = false);
        self.groups.push(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        let edges: Vec<Vec<usize>> = edges.iter().map(|to| to.to_vec()).collect();
        let roots: Vec<usize> = (0..edges.len()).collect();
        let mut groups = Search::run(&edges, &roots);
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups
    }

    #[test]
    fn whoever_is_referred_to_comes_first_and_else_the_order_is_kept() {
        assert_eq!(groups(&[&[2], &[], &[3], &[]]), [[3], [2], [0], [1]]);
    }

    #[test]
    fn cycles_are_groups_and_what_hangs_on_them_is_not() {
        assert_eq!(groups(&[&[1], &[2], &[1, 3], &[]]), [vec![3], vec![1, 2], vec![0]]);
        assert_eq!(groups(&[&[1], &[2], &[0], &[4], &[3]]), [vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn a_very_long_chain_does_not_exhaust_the_stack() {
        let edges: Vec<Vec<usize>> = (0..200_000).map(|index| vec![index + 1]).chain([vec![]]).collect();
        let found = Search::run(&edges, &[0]);
        assert_eq!(found.len(), 200_001);
        assert_eq!(found[0], [200_000]);
    }
}
