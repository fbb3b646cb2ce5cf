"""The case study: a net, nets grown from it by splits, and the controls. See README.md."""
