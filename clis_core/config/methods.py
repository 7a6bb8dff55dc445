"""Every way to teach a detector, and what each needs of the pictures with a class label."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clis_core.config.image_methods import DeticConfig, DlwlConfig, SelfTrainingConfig, UnbiasedTeacherConfig
from clis_core.config.method import ClisConfig, SupervisedConfig
from clis_core.config.pictures import WHOLE_PICTURE, PicturesConfig
from clis_core.errors import ConfigError

MethodConfig = Annotated[
    SupervisedConfig | ClisConfig | DeticConfig | SelfTrainingConfig | DlwlConfig | UnbiasedTeacherConfig,
    Field(discriminator="kind"),
]


def learns_from_pictures(method: MethodConfig) -> bool:
    """Whether a method has a use for pictures."""
    return not isinstance(method, SupervisedConfig)


def takes_whole_pictures(method: MethodConfig) -> bool:
    """Whether it looks for the class in a picture itself, so that regions have no say."""
    return isinstance(method, DeticConfig | DlwlConfig | UnbiasedTeacherConfig)


def pictures_for(method: MethodConfig, pictures: PicturesConfig) -> PicturesConfig:
    """The pictures' settings as a method takes them: their regions are the whole pictures where it needs none.

    Raises:
        ConfigError: instances shall be pasted, or regions be used, by a method that does not.
    """
    if isinstance(method, ClisConfig):
        return pictures
    if pictures.t:
        raise ConfigError(
            f"pictures.t = {pictures.t}, but the method {method.kind} pastes nothing into detection images.",
            hint="--set pictures.t=0",
        )
    if not takes_whole_pictures(method):
        return pictures
    if pictures.regions not in (None, WHOLE_PICTURE):
        raise ConfigError(
            f"pictures.regions = {pictures.regions}, but the method {method.kind} looks for the class itself.",
            hint=f"--regions {WHOLE_PICTURE}",
        )
    return pictures.model_copy(update={"regions": WHOLE_PICTURE})
