"""Somebody's own block: its factory found by name, given the widths that it asks for, and called."""

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import ModuleType

from torch import nn

from ann.spec import Size
from bench.records import definitions
from experiments.factories import Factory, read_factory
from experiments.spec import OwnModule

# What libraries call the width of the map that comes in; the first argument of such a name gets the channels.
CHANNELS = frozenset(
    (
        *("channels", "channel", "num_channels", "n_channels", "nchannels", "input_channels"),
        *(
            "in_channels",
            "in_channel",
            "in_chans",
            "in_chs",
            "in_ch",
            "ch_in",
            "c_in",
            "feat_channels",
        ),
        *("in_planes", "inplanes", "in_features", "input_features", "num_features"),
        *("dim", "in_dim", "in_dims", "dim_in", "input_dim", "d_model", "model_dim", "n_embd"),
        *("embed_dim", "embed_dims", "embedding_dim", "hidden_size", "in_size", "input_size"),
    )
)
# These may be something else, and get them only where the factory can't be called without.
CHANNELS_IF_REQUIRED = frozenset(
    (
        *("c", "c1", "ch", "chan", "nc", "ic", "inp", "planes", "features", "dims", "hidden_dim"),
        *("nf", "n_feat", "n_feats", "emb_dim", "emb_size", "normalized_shape"),
    )
)
# Of functions on tensors, which are no factories.
TENSORS = frozenset(("input", "inputs", "x", "query", "q", "tensor", "feature", "feat", "images"))
WANTED = "name a class or a function that returns a torch.nn.Module"
MOST_NAMES = 8
LEAST_WIDTH = 4  # a smaller default of `dim` is an axis

Parameters = Mapping[str, inspect.Parameter]
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class FactoryCall:
    """A factory with all that it is called with."""

    factory: Callable[..., object]
    name: str
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def __str__(self) -> str:
        """As one would write it."""
        texts = (
            *map(repr, self.args),
            *(f"{name}={value!r}" for name, value in self.kwargs.items()),
        )
        return f"{self.name}({', '.join(texts)})"


def prepare_call(subject: OwnModule, size: Size) -> FactoryCall:
    """Find the factory, and fill in what its text leaves out: channels, key channels, height and width of the map.

    Raises:
        ValueError: it is written wrong, is not there, is no factory, takes no such argument, or needs another one.
    """
    factory, written = find_factory(subject.factory), read_factory(subject.factory)
    name = ".".join(written.names)
    if isinstance(factory, nn.Module):
        if written.args or written.kwargs:
            msg = f"block {subject.factory!r}: {name} is a module already, so it takes no arguments; leave them out"
            raise ValueError(msg)
        return FactoryCall(lambda: factory, name, (), {})
    signature = _signature(factory, of=subject.factory)
    try:
        bound = signature.bind_partial(*written.args, **written.kwargs)
    except TypeError as error:
        msg = f"block {subject.factory!r}: {error}; {name} takes {', '.join(signature.parameters) or 'none'}"
        raise ValueError(msg) from error
    left = {key: item for key, item in signature.parameters.items() if key not in bound.arguments}
    filled = _filled(
        factory, left, signature.parameters, written=written, subject=subject, size=size
    )
    missing = [key for key, item in left.items() if _is_required(item) and key not in filled]
    if missing:
        raise ValueError(_needs(subject, name, missing, filled))
    return FactoryCall(factory, name, written.args, {**written.kwargs, **filled})


def build_own(subject: OwnModule, size: Size) -> nn.Module:
    """Call somebody's own factory for maps of a size.

    Raises:
        ValueError: as `prepare_call`, or it returned something else than a module.
    """
    call = prepare_call(subject, size)
    module = call.factory(*call.args, **call.kwargs)
    if not isinstance(module, nn.Module):
        msg = f"{call} of {subject.factory!r} returned {type(module).__name__}; it must return a torch.nn.Module"
        raise ValueError(msg)
    return module


def _filled(
    factory: Callable[..., object],
    left: Parameters,
    every: Parameters,
    *,
    written: Factory,
    subject: OwnModule,
    size: Size,
) -> dict[str, object]:
    """What the factory is given of `every` argument beside what is written: of those that are `left`."""
    filled: dict[str, object] = {}
    channels = _name_of_channels(every)
    if channels is not None and channels in left:
        filled[channels] = subject.channels
    if "key_channels" in left:
        filled["key_channels"] = subject.key_channels
    # A width alone may be one of channels.
    is_map = "height" in every or (channels is not None and _is_required(every.get("width")))
    sides = {"height": size.height, "width": size.width}
    filled |= {key: value for key, value in sides.items() if is_map and key in left}
    if channels is None and not written.args and not written.kwargs.keys() & CHANNELS:
        filled |= _of_bag(factory, every, subject)
    return {key: value for key, value in filled.items() if key not in written.kwargs}


def _of_bag(
    factory: Callable[..., object], every: Parameters, subject: OwnModule
) -> dict[str, object]:
    """What a factory with `**kwargs` is given: what the class takes that it hands them to, or both widths."""
    if not any(item.kind is item.VAR_KEYWORD for item in every.values()):
        return {}
    bases = inspect.getmro(factory) if inspect.isclass(factory) else ()
    makers = [base for base in bases if "__init__" in vars(base)]
    makers = makers[: makers.index(nn.Module)] if nn.Module in makers else []
    if bases and not makers:  # nn.Module takes none, though it says so
        return {}
    for base in makers[1:]:
        named = inspect.signature(base).parameters
        taken = _name_of_channels(named)
        if taken or not any(item.kind is item.VAR_KEYWORD for item in named.values()):
            given: dict[str, object] = {taken: subject.channels} if taken else {}
            return given | {key: subject.key_channels for key in named if key == "key_channels"}
    return {"channels": subject.channels, "key_channels": subject.key_channels}


def _name_of_channels(parameters: Parameters) -> str | None:
    """The argument that gets the channels: `channels`, or the first that is called so; what is required first."""
    names = [key for key, item in parameters.items() if _takes_channels(item)]
    required = [key for key in names if _is_required(parameters[key])]
    names = required or names
    return "channels" if "channels" in names else next(iter(names), None)


def _is_required(parameter: inspect.Parameter | None) -> bool:
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return False
    return parameter.default is parameter.empty


def _takes_channels(parameter: inspect.Parameter) -> bool:
    if parameter.kind not in _NAMED:
        return False
    name, default = parameter.name.lower(), parameter.default
    if default is parameter.empty:
        return name in CHANNELS | CHANNELS_IF_REQUIRED
    if name == "dim":  # of torch's own modules, an axis
        return isinstance(default, int) and default >= LEAST_WIDTH
    return name in CHANNELS


def _needs(subject: OwnModule, name: str, missing: list[str], filled: Mapping[str, object]) -> str:
    text = subject.factory
    if not filled and missing[0] in TENSORS:
        return f"block {text!r}: {name} takes tensors, so it is no factory; {WANTED}"
    given = ", ".join(f"{key}={value!r}" for key, value in filled.items())
    bare, bracket, behind = text.partition("(")
    before = behind.rstrip().removesuffix(")").rstrip().rstrip(",") if bracket else ""
    wanted = ", ".join(f"{key}=..." for key in missing)
    example = f"{bare}({before + ', ' if before else ''}{wanted})"
    beside = (
        f" beside {given}"
        if given
        else ", and nothing of it is called as a number of channels is (e.g. dim)"
    )
    return f"block {text!r}: {name} needs {', '.join(missing)}{beside}; write --block {example!r}"


def _signature(factory: Callable[..., object], *, of: str) -> inspect.Signature:
    try:
        return inspect.signature(factory)
    except (ValueError, TypeError) as error:
        name = getattr(factory, "__name__", factory)
        msg = (
            f"block {of!r}: {name} is built in and has no signature, so it is no factory; {WANTED}"
        )
        raise ValueError(msg) from error


def find_factory(text: str) -> Callable[..., object]:
    """Import what `package.module:factory` names, its arguments apart; what that prints goes to standard error.

    A name that a package does not have is looked for in the modules of the package: timm.layers:HaloAttn is in
    timm.layers.halo_attn.

    Raises:
        ValueError: it is written wrong, there is no such module, it can't be imported, or has no such callable.
    """
    written = read_factory(text)
    module = _import(written.module, of=text)
    if not hasattr(module, written.names[0]):
        module = _import(_home(module, written), of=text)
    item: object = module
    where = written.module
    for name in written.names:
        if not hasattr(item, name):
            below = definitions(written.module) if item is module else {}
            msg = f"block {text!r}: {_no_such(name, item, where, below)}"
            raise ValueError(msg)
        item, where = getattr(item, name), f"{where}.{name}"
    if isinstance(item, ModuleType):
        msg = f"block {text!r}: {where} is a module of Python; write {where}:NAME of what is in it"
        raise ValueError(msg)
    if not callable(item):
        msg = f"block {text!r}: it is a {type(item).__name__}; {WANTED}"
        raise ValueError(msg)
    return item


def _home(module: ModuleType, written: Factory) -> str:
    """Name of the module in a package that alone defines what the package lacks, or of the package."""
    homes = definitions(written.module).get(written.names[0], ())
    return homes[0] if len(homes) == 1 and hasattr(module, "__path__") else written.module


def _no_such(name: str, item: object, where: str, below: Iterable[str]) -> str:
    """Say that there is no such name: the nearest, those of a package's modules too, or all where they are few."""
    names = [key for key, value in vars(item).items() if callable(value) and key[:1] != "_"]
    near = difflib.get_close_matches(name, {*names, *below}, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    few = f"it has {', '.join(names) or 'none'}" if len(names) <= MOST_NAMES else ""
    return f"{where} has no callable {name!r}; {hint or few or f'none of its {len(names)} is called nearly so'}"


def _innermost(error: BaseException) -> traceback.FrameSummary:
    """Where it was raised, in no code of Python's import."""
    frames = traceback.extract_tb(error.__traceback__)
    written = [frame for frame in frames if not frame.filename.startswith("<frozen importlib")]
    return (written or frames)[-1]


def _import(name: str, *, of: str) -> ModuleType:
    try:
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may end the process
        last = _innermost(error)
        lacks = error.name if isinstance(error, ModuleNotFoundError) else None
        if lacks and f"{name}.".startswith(f"{lacks}."):
            msg = f"block {of!r}: can't import {name!r} ({error}); run where Python finds it or set PYTHONPATH"
            raise ValueError(msg) from error
        if lacks and lacks.partition(".")[0] != name.partition(".")[0]:
            what = f"{name!r} is there, and {lacks!r}, which it imports, is not"
            how = f"install it beside, as by pip install or uvx --with {lacks.partition('.')[0]}"
            msg = f"block {of!r}: {what} ({last.filename}, line {last.lineno}); {how}"
            raise ValueError(msg) from error
        # A syntax error says itself where it is.
        place = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        raised = f"{type(error).__name__}: {error}{place}"
        msg = f"block {of!r}: importing {name!r} raises {raised}; mend it there"
        raise ValueError(msg) from error
