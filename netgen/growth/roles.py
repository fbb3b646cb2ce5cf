"""What the layers that a split makes are called, and which of them are glue."""

PARTS = ("_split1", "_split2")
GLUE = ("_residual_post", "_extension", "_reorder")  # 1x1 layers that join the parts


def is_part(name):
    """Is this a part of a layer that was split?"""
    return name.endswith(PARTS)


def is_glue(name):
    """Is this a layer that only joins the parts of a split?"""
    return name.endswith(GLUE)
