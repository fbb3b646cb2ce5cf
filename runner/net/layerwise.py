"""A net run one layer at a time, each with an autograd graph of its own."""

import torch


class Layerwise:
    """Forward and backward of single layers, blobs and their gradients kept by name."""

    def __init__(self, net):
        self.net = net
        self.data, self.diff = {}, {}
        self._graphs = [None] * len(net.nodes)

    def forward(self):
        """Every layer in order; returns the objective as a float."""
        return sum(self.forward_layer(i) for i in range(len(self.net.nodes)))

    def forward_layer(self, index):
        """Run layer `index` on the blobs that are there; returns its part of the objective."""
        node = self.net.nodes[index]
        inputs = [self.data[name].detach().requires_grad_() for name in node.bottoms]
        with torch.enable_grad():
            tops = self.net.run(node, inputs, node.all_arguments())
        self._graphs[index] = (inputs, tops)
        loss = 0.0
        for name, top, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            self.data[name] = top.detach()
            if weight:
                loss += weight * top.detach().sum().item()
                self.diff[name] = torch.full_like(top, weight)
        return loss

    def backward(self):
        """Every layer in reverse order."""
        for index in reversed(range(len(self.net.nodes))):
            self.backward_layer(index)

    def backward_layer(self, index):
        """Gradients of layer `index` from its tops': into its bottoms' and its blobs' diffs."""
        node = self.net.nodes[index]
        inputs, tops = self._graphs[index]
        pairs = [
            (top, self.diff.get(name, torch.zeros_like(top)))
            for name, top in zip(node.tops, tops, strict=True)
            if top.requires_grad
        ]
        if not pairs:
            return
        gradients = torch.autograd.grad(
            [top for top, _ in pairs],
            inputs + node.leaves,
            [diff for _, diff in pairs],
            allow_unused=True,
        )
        for name, gradient in zip(node.bottoms, gradients, strict=False):
            if gradient is not None:
                self.diff[name] = gradient
        for position, gradient in zip(node.learnable, gradients[len(inputs) :], strict=True):
            if gradient is not None:
                total = self.net.parameters.blobs[position].grad
                total.add_(gradient.view(total.shape))
