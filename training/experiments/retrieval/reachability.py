"""Which tree a node belongs to: one layer of DeltaFormer passes a label along any number of edges.

A graph of two trees comes as a sequence: each root writes its label, +1 or -1, and then edges, parents first, write
zero under the key ``(k_parent - k_child) / sqrt(2)``. Erasing what that key holds gives parent and child the mean of
their labels (derived here), so that a label reaches every node, halved at each edge, with its sign. Without the
correction, as in attention, only the roots know their label. The weights are constructed, not learned.
"""

import torch

from ait.memory.delta_attention import correct
from training.experiments import style
from training.experiments.outcome import Check, Outcome

NODES = 32


def two_trees(generator: torch.Generator) -> tuple[torch.Tensor, list[tuple[int, int]], torch.Tensor]:
    """Draw two random trees.

    Returns:
        Label of each node, +1 or -1, shape (NODES,); edges (parent, child), parents first; depth of each node.
    """
    names = torch.randperm(NODES, generator=generator).tolist()
    label, depth = torch.zeros(NODES, dtype=torch.float64), torch.zeros(NODES, dtype=torch.long)
    trees: list[list[int]] = [[names[0]], [names[1]]]
    label[names[0]], label[names[1]] = 1.0, -1.0
    edges = []
    for name in names[2:]:
        tree = trees[int(torch.randint(2, (), generator=generator))]
        parent = tree[int(torch.randint(len(tree), (), generator=generator))]
        tree.append(name)
        edges.append((parent, name))
        label[name], depth[name] = label[parent], depth[parent] + 1
    return label, edges, depth


def read_labels(edges: list[tuple[int, int]], roots: torch.Tensor, label: torch.Tensor, erase: float) -> torch.Tensor:
    """Read every node after the sequence of roots and edges; shape (NODES,)."""
    identity = torch.eye(NODES, dtype=torch.float64)
    parents, children = (torch.tensor(side) for side in zip(*edges, strict=True))
    keys = torch.cat([identity[roots], (identity[parents] - identity[children]) / 2**0.5])
    values = torch.cat([label[roots], label.new_zeros(len(edges))]).unsqueeze(-1)
    return (identity @ keys.mT @ correct(keys, values, erase=erase, key_kernel="linear")).squeeze(-1)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Label the nodes of random graphs with and without correction, and with edges in random order."""
    generator = torch.Generator().manual_seed(seed)
    graphs = 2000 if full else 200
    right: dict[str, list[torch.Tensor]] = {
        "delta layer": [],
        "delta layer, edges shuffled": [],
        "linear attention": [],
    }
    depths = []
    for _ in range(graphs):
        label, edges, depth = two_trees(generator)
        roots = (depth == 0).nonzero().squeeze(-1)
        shuffled = [edges[i] for i in torch.randperm(len(edges), generator=generator).tolist()]
        readings = (
            read_labels(edges, roots, label, 1.0),
            read_labels(shuffled, roots, label, 1.0),
            read_labels(edges, roots, label, 0.0),
        )
        for found, reading in zip(right.values(), readings, strict=True):
            found.append(reading.sign() == label)
        depths.append(depth)
    depth = torch.cat(depths)
    known = {name: torch.cat(found).double() for name, found in right.items()}
    accuracy = {name: float(values.mean()) for name, values in known.items()}
    checks = [
        Check("delta layer, nodes labelled", accuracy["delta layer"], 0.999, 1.0, 1.0),
        Check.near("linear attention, nodes labelled", accuracy["linear attention"], 2 / NODES, margin=1e-9),
    ]
    levels = range(int(depth.max()) + 1)
    figure, (axes,) = style.new_figure()
    for look, (name, values) in zip(style.series(), known.items(), strict=False):
        axes.plot(levels, [float(values[depth == level].mean()) for level in levels], label=name, **look)
    axes.set(xlabel="edges from the root", ylabel="nodes labelled rightly", ylim=(-0.05, 1.05))
    axes.legend(fontsize=8)
    return Outcome(
        f"Reachability in {NODES} nodes of two trees", checks, figure, {"accuracy": accuracy, "graphs": graphs}
    )
