"""A plugin of mypy: what Flax adds to a dataclass of arrays, `replace`, with its fields' names.

`pyproject.toml` names it. Without it every `replace` is an unknown attribute, and a misspelt field
in one would be found at run time alone. Values are not checked: a pytree may hold the axes of
`vmap` or the specs of a sharding in place of its arrays.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import ARG_NAMED_OPT, Argument, Var
from mypy.plugin import ClassDefContext, Plugin
from mypy.plugins.common import add_method_to_class
from mypy.plugins.dataclasses import dataclass_class_maker_callback
from mypy.types import AnyType, TypeOfAny
from mypy.typevars import fill_typevars

DECORATORS = {"jaxface.pytrees.pytree", "flax.struct.dataclass"}


def with_replace(context: ClassDefContext) -> bool:
    """Does what mypy does for any dataclass; then adds `replace(*, field=...) -> Self`."""
    if not dataclass_class_maker_callback(context):
        return False
    info = context.cls.info
    anything = AnyType(TypeOfAny.explicit)
    names = [field["name"] for field in info.metadata["dataclass"]["attributes"]]
    arguments = [Argument(Var(name, anything), anything, None, ARG_NAMED_OPT) for name in names]
    add_method_to_class(context.api, context.cls, "replace", arguments, fill_typevars(info))
    return True


class Pytrees(Plugin):
    def get_class_decorator_hook_2(self, fullname: str) -> Callable | None:
        return with_replace if fullname in DECORATORS else None


def plugin(version: str) -> type[Plugin]:
    return Pytrees
