"""The models. Their code is in :mod:`normbench.models`, one a file."""

from __future__ import annotations

from normbench.catalog.entries import OWN_NETWORKS, TOKENS, Catalog, Entry, Param
from normbench.catalog.target_name import ARGS, TARGET
from normbench.catalog.weights import checked_weights

_HIDDEN = {"hidden": Param(48, "hidden units", at_least=1, at_most=8192)}

MODELS = Catalog(
    "model",
    {
        "mlp": Entry(
            "normbench.models.mlp:layers",
            "fully connected net with two hidden layers",
            params={
                "width": Param(64, "units of each hidden layer", at_least=1, at_most=65536),
                "depth": Param(2, "hidden layers", at_least=1, at_most=64),
            },
        ),
        "linear": Entry(
            "normbench.models.linear:layers",
            "one linear layer, without a site for a norm",
        ),
        "small-cnn": Entry(
            "normbench.models.small_cnn:layers",
            "two 3×3 convolutions and a linear classifier, for 8×8 images",
            params={
                "width": Param(16, "channels of the first convolution", at_least=1, at_most=4096)
            },
        ),
        "resnet": Entry(
            "normbench.models.resnet:layers",
            "narrow residual net (He et al. 2016, arXiv:1512.03385), for 8 pixels and more",
            params={
                "width": Param(16, "channels of the first stage", at_least=1, at_most=4096),
                "blocks": Param(
                    1, "blocks of two convolutions in each of three stages", at_least=1, at_most=64
                ),
                "zero_init": Param(
                    False,
                    "the scale of each block's last norm starts at 0 "
                    "(Goyal et al. 2017, arXiv:1706.02677)",
                ),
            },
        ),
        "alexnet": Entry(
            "normbench.models.alexnet:layers",
            "AlexNet (Krizhevsky 2014, arXiv:1404.5997), for 32, 64 or at least 128 pixels",
            params={
                "width": Param(1.0, "factor on all channels", above=0.0, at_most=8.0),
                "dropout": Param(
                    0.5, "dropout before both hidden layers", at_least=0.0, at_most=0.95
                ),
            },
        ),
        "lstm": Entry(
            "normbench.models.recurrent:lstm",
            "LSTM (Hochreiter & Schmidhuber 1997) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
        "gru": Entry(
            "normbench.models.recurrent:gru",
            "GRU (Cho et al. 2014, arXiv:1406.1078) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
        "rnn": Entry(
            "normbench.models.recurrent:rnn",
            "recurrent net with tanh (Elman 1990) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
        "transformer": Entry(
            "normbench.models.transformer:layers",
            "small transformer (Vaswani et al. 2017, arXiv:1706.03762) for tokens, images in "
            "patches, and series",
            params={
                "width": Param(64, "features of a token", at_least=1, at_most=8192),
                "depth": Param(2, "blocks", at_least=1, at_most=64),
                "heads": Param(4, "heads of the attention; must divide the width", at_least=1),
                "patch": Param(2, "pixels of a patch's side, of images", at_least=1),
                "placement": Param(
                    "pre",
                    "norms in front of each branch, behind each addition, or around each branch",
                    choices=("pre", "post", "sandwich"),
                ),
                "qk": Param(False, "norms on queries and keys, too"),
            },
            traits=frozenset({TOKENS}),
        ),
        "torch": Entry(
            "normbench.models.own.network:OwnModel",
            "a network of your own: a torch module, whose norm layers are replaced",
            params={
                "target": TARGET,
                "args": ARGS,
                "weights": Param(
                    "",
                    "file of trained weights beside the protocol: .safetensors, or a state_dict "
                    "of torch.save; empty: none",
                    check=checked_weights,
                ),
                "via": Param(
                    "",
                    "argument by which the target takes a norm layer; empty: norms are replaced "
                    "where the network has some",
                    choices=("", "norm_layer"),
                ),
                "affine": Param(
                    "carry",
                    "a replaced norm's scale, shift and running statistics go to the new one, or "
                    "are reset",
                    choices=("carry", "reset"),
                ),
                "constants": Param(
                    "carry",
                    "eps and momentum, where the norm has its defaults: of the replaced norm, or "
                    "the norm's",
                    choices=("carry", "norm"),
                ),
                "bias_before": Param(
                    "add",
                    "layers without bias before a batch norm that is replaced: add one that "
                    "starts at 0, or leave them as they are",
                    choices=("add", "as-is"),
                ),
                "on_misfit": Param(
                    "refuse",
                    "groups that do not divide the channels: refuse, or take the largest number "
                    "below that does",
                    choices=("refuse", "largest-divisor"),
                ),
            },
            traits=frozenset({OWN_NETWORKS}),
        ),
    },
)
