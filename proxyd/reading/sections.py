"""What every section of a configuration file is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A map with known keys only, read without conversions."""

    model_config = ConfigDict(
        extra="forbid",
        defer_build=True,
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )
