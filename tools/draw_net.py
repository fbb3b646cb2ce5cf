"""Draw a net: a box a layer, coloured by its role, with what makes a split apart from the rest."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.draw_net import command

if __name__ == "__main__":
    command()
