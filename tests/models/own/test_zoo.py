"""The classification networks of torchvision, and networks of timm with fused layers."""

from __future__ import annotations

import pytest
import torchvision

from normbench.errors import UsageError
from normbench.models.own.places import Fused
from tests.models.own.zoo import NORMS, WITHOUT, of_timm, of_torchvision, take_a_step

ALL = torchvision.models.list_models(module=torchvision.models)
#: A dozen that are small, one of each family.
FEW = (
    "resnet18", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5", "swin_v2_t",
    "squeezenet1_1",
)  # fmt: skip
#: Of timm, with batch norm, group norm or layer norm that is fused with its activation.
TIMM = {
    "resnetv2_50": 32, "resnetv2_50d_gn": 32, "cspresnet50": 64, "cspdarknet53": 64,
    "efficientnet_lite0": 32, "tf_efficientnetv2_b0": 32, "mobilenetv3_small_050": 32,
    "mobilenetv2_035": 32, "regnetx_002": 32, "regnety_002": 32, "rexnet_100": 32,
    "mixnet_s": 32, "fbnetc_100": 32, "mnasnet_small": 32, "densenet121": 32,
    "hardcorenas_a": 32, "ghostnet_050": 32, "lcnet_035": 32, "tinynet_e": 32,
    "semnasnet_075": 32, "darknet53": 64, "gernet_s": 32, "repghostnet_050": 32, "vovnet39a": 64,
    "ese_vovnet19b_slim_dw": 64, "xception41p": 64, "inception_v4": 96,
}  # fmt: skip


def check(name: str, norm: str) -> None:
    if name in WITHOUT:
        with pytest.raises(UsageError, match="no norm that could be replaced"):
            take_a_step(of_torchvision(name), norm)
        return
    net = take_a_step(of_torchvision(name), norm)
    assert net.norms


@pytest.mark.parametrize("name", FEW)
def test_a_dozen_networks_take_a_step_with_another_norm(name: str) -> None:
    check(name, "group")


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
def test_every_classification_network_of_torchvision(name: str, norm: str) -> None:
    check(name, norm)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm_keep_their_fused_activations(name: str) -> None:
    pytest.importorskip("timm")
    net = take_a_step(of_timm(name, TIMM[name]), "group")
    assert any(isinstance(norm, Fused) for norm in net.norms.values())
