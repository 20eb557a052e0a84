"""Estimators as plain data and back: what the document in a saved file says.

An estimator is its class's name, its parameters and its fitted attributes; it is built by its
constructor. Which classes a file may name is the matter of `_classes`, which networks of
`_networks`, and the bytes on the disk of `_file`.
"""

import math
import sys
from collections import UserList
from reprlib import repr as short_repr

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator

from ..keys import Hidden, revealed
from ._classes import check_no_cache, class_name, find_class

# Booleans, numbers, text and dates; not the long double, which every platform has another of.
_KINDS = "biufcSUmM"
_PLAIN = (bool, int, str, type(None))


class Encoder:
    """Turns objects into what JSON can hold; arrays are put aside.

    Parameters
    ----------
    with_keys : bool, default=False
        Whether parameters that are keys are encoded; None takes their place otherwise.

    Attributes
    ----------
    arrays : list of ndarray
        The arrays, in the order in which their bytes are counted.
    networks : list of dict
        The networks, each once however often it is held.
    refusals : list of str
        Why a decoder that trusts nothing would refuse, once for each reason.
    modules : list of str
        Torch modules whose code a decoder has to be given.
    """

    def __init__(self, *, with_keys=False):
        self._with_keys = with_keys
        self.arrays, self.networks, self.refusals, self.modules = [], [], [], []
        self._n_bytes = 0
        self._numbers = {}
        self._encoders = {
            bytes: lambda value, where: {"type": "bytes", "hex": value.hex()},
            dict: self._encode_dict,
            float: self._encode_float,
            list: self._encode_items,
            np.memmap: self._encode_array,
            np.ndarray: self._encode_array,
            np.random.RandomState: self._encode_random_state,
            slice: self._encode_slice,
            tuple: lambda value, where: {
                "type": "tuple",
                "items": self._encode_items(value, where),
            },
        }

    def encode(self, value, where):
        """Encode an object.

        Parameters
        ----------
        value : object
            What to encode.
        where : str
            What to call it in messages.

        Returns
        -------
        object
            What JSON can hold.

        Raises
        ------
        TypeError
            If it, or a part of it, is of a kind that cannot be encoded.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in self._encoders:
            return self._encoders[kind](value, where)
        if isinstance(value, BaseEstimator):
            return self._encode_estimator(value, where)
        if isinstance(value, np.generic):
            return {"type": "scalar", "array": self._encode_array(np.asarray(value), where)}
        if isinstance(value, np.dtype):
            return {"type": "dtype", "dtype": _dtype_name(value, where)}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"type": "number", "dtype": _dtype_name(np.dtype(value), where)}
        # scikit-learn's list of columns before release 1.9, which warns where it is looked at.
        if isinstance(value, UserList):
            return self._encode_items(value.data, where)
        return self._encode_keras(value, where)

    def _encode_items(self, values, where):
        return [self.encode(value, f"{where}[{i}]") for i, value in enumerate(values)]

    def _encode_dict(self, value, where):
        items = [
            [self.encode(key, f"a key of {where}"), self.encode(item, f"{where}[{key!r}]")]
            for key, item in value.items()
        ]
        return {"type": "dict", "items": items}

    def _encode_float(self, value, where):
        return value if math.isfinite(value) else {"type": "float", "value": repr(value)}

    def _encode_slice(self, value, where):
        bounds = self._encode_items((value.start, value.stop, value.step), where)
        return {"type": "slice", "bounds": bounds}

    def _encode_random_state(self, value, where):
        state = value.get_state(legacy=True)
        return {"type": "RandomState", "state": self._encode_items(state, where)}

    def _encode_array(self, value, where):
        array = np.asarray(value)
        if array.dtype == object:
            items = self._encode_items(array.ravel().tolist(), where)
            return {"type": "objects", "shape": list(array.shape), "items": items}
        by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        node = {
            "type": "array",
            "dtype": _dtype_name(array.dtype, where),
            "shape": list(array.shape),
            # Sums of products differ in their last bits with the order.
            "order": "F" if by_columns else "C",
            "start": self._n_bytes,
        }
        self.arrays.append(array.T if by_columns else array)
        self._n_bytes += array.nbytes
        return node

    def _encode_estimator(self, value, where):
        state = value.__getstate__()
        params = {k: self._without_key(v) for k, v in value.get_params(deep=False).items()}
        check_no_cache(params, where)
        name = class_name(type(value))
        self._note_refusal(find_class, name)
        # Requests are of a class of scikit-learn's own, which its public methods make again.
        fitted = {k: v for k, v in state.items() if k not in {*params, "_metadata_request"}}
        return {
            "type": "estimator",
            "class": name,
            "requests": _metadata_requests(state.get("_metadata_request")),
            "params": {k: self.encode(v, f"{where}.{k}") for k, v in params.items()},
            "fitted": {k: self.encode(v, f"{where}.{k}") for k, v in fitted.items()},
        }

    def _without_key(self, value):
        if not isinstance(value, Hidden):
            return value
        return revealed(value) if self._with_keys else None

    def _encode_keras(self, value, where):
        """Encode a network, stored or not, or a layer; all else is refused."""
        # Where Keras was not imported, nothing is a network.
        if "keras" in sys.modules:
            from . import _networks as networks

            try:
                if isinstance(value, networks.StoredNetwork):
                    return self._encode_network(value, where, networks)
                if networks.is_torch_module(value):
                    name, state = networks.describe_module(value)
                    self.modules.append(name)
                    return {"type": "module", "state": self._encode_dict(state, where)}
                if networks.is_keras_object(value):
                    config, weights = networks.describe_keras_object(value)
                    networks.check_config(config)
                    self._note_refusal(networks.check_config, config)
                    return {
                        "type": "keras",
                        "config": config,
                        "weights": self._encode_items(weights, where),
                    }
            except ValueError as error:
                raise TypeError(f"{where} cannot be saved: {error}") from error
        raise TypeError(
            f"{where} is {short_repr(value)} of type {type(value).__name__}, which cannot be saved "
            "without pickle. If it is a parameter, set it to something else first (set_params): a "
            "fitted estimator needs neither callbacks nor a function for its training."
        )

    def _note_refusal(self, check, named):
        try:
            check(named, ())
        except ValueError as error:
            if str(error) not in self.refusals:
                self.refusals.append(str(error))

    def _encode_network(self, network, where, networks):
        if id(network) not in self._numbers:
            config = network.config
            networks.check_config(config)
            self._note_refusal(networks.check_config, config)
            self._numbers[id(network)] = len(self.networks)
            node = {"config": config, "weights": self._encode_items(network.weights, where)}
            if network.held:
                if len(network.held) > 1:
                    raise ValueError("it runs several torch modules: put them into one")
                self.modules += [type(held.module).__qualname__ for held in network.held]
                node["probe"] = self._encode_array(networks.probe(network), where)
            self.networks.append(node)
        return {"type": "network", "number": self._numbers[id(network)]}


class Decoder:
    """Turns what an :class:`Encoder` made into objects again.

    Parameters
    ----------
    networks : list of dict
        The networks.
    payload : memoryview
        The bytes of the arrays.
    trusted : sequence of type or callable
        Classes that may be named beside those of the lists, and functions of Keras networks.
    embedder : torch.nn.Module or None, default=None
        The code of the embedder, where that is a torch module.

    Attributes
    ----------
    embedder_wanted : bool
        Whether something needed that code.

    Raises
    ------
    ValueError
        If a network is not one that may be built. All methods raise it where the data are not
        an encoder's.
    """

    def __init__(self, networks, payload, trusted, embedder=None):
        self._payload, self._trusted = payload, trusted
        self._embedder, self._held, self.embedder_wanted = embedder, {}, False
        self._decoders = {
            "RandomState": lambda node: _random_state(*self.decode(node["state"])),
            "array": self._decode_array,
            "bytes": lambda node: bytes.fromhex(node["hex"]),
            "dict": lambda node: {self.decode(k): self.decode(v) for k, v in node["items"]},
            "dtype": lambda node: _read_dtype(node["dtype"]),
            "estimator": self._decode_estimator,
            "float": lambda node: float(node["value"]),
            "keras": self._decode_keras,
            "module": self._decode_module,
            "network": lambda node: self._networks[node["number"]],
            "number": lambda node: _read_dtype(node["dtype"]).type,
            "objects": self._decode_objects,
            "scalar": lambda node: self._decode_array(node["array"])[()],
            "slice": lambda node: slice(*self.decode(node["bounds"])),
            "tuple": lambda node: tuple(self.decode(node["items"])),
        }
        self._networks = [self._decode_network(node) for node in networks]

    def decode(self, node):
        """Build an object.

        Parameters
        ----------
        node : object
            What :meth:`Encoder.encode` gave.

        Returns
        -------
        object
            The object.
        """
        if isinstance(node, (*_PLAIN, float)):
            return node
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if node.get("type") not in self._decoders:
            raise ValueError(f"it holds a value of the unknown kind {node.get('type')!r}")
        return self._decoders[node["type"]](node)

    def _decode_array(self, node):
        dtype, shape, start = _read_dtype(node["dtype"]), _read_shape(node), node["start"]
        stop = start + math.prod(shape) * dtype.itemsize
        if not 0 <= start <= stop <= len(self._payload):
            raise ValueError(f"it has no bytes {start} to {stop} for an array of shape {shape}")
        part = self._payload[start:stop]
        if dtype.kind == "b":
            # Other bytes than 0 and 1 would make a boolean that numpy does not expect.
            flat = np.frombuffer(part, np.uint8) != 0
        else:
            flat = np.frombuffer(part, dtype) if stop > start else np.empty(0, dtype)
        order = "F" if node["order"] == "F" else "C"
        return flat.reshape(shape, order=order).copy(order="K")

    def _decode_objects(self, node):
        items = self.decode(node["items"])
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(_read_shape(node))

    def _decode_estimator(self, node):
        cls = find_class(node["class"], self._trusted)
        params = {name: self.decode(value) for name, value in node["params"].items()}
        unknown = sorted(params.keys() - set(cls._get_param_names()))
        if unknown:
            raise ValueError(
                f"it sets {', '.join(unknown)} of {cls.__name__}, which has no such parameter: "
                "another release wrote it"
            )
        check_no_cache(params, cls.__name__)
        estimator = cls(**params)
        fitted = {name: self.decode(value) for name, value in node["fitted"].items()}
        hidden = sorted(name for name in fitted if name in params or hasattr(cls, name))
        if hidden:
            raise ValueError(f"it would replace {', '.join(hidden)} of {cls.__name__}")
        # scikit-learn's own warns where another release of it was used to fit.
        estimator.__setstate__(fitted)
        with config_context(enable_metadata_routing=True):
            for method, requests in node.get("requests", {}).items():
                getattr(estimator, f"set_{method}_request")(**requests)
        return estimator

    def _decode_keras(self, node):
        from . import _networks as networks

        config = node["config"]
        networks.check_config(config, self._trusted)
        held = self._hold(config, networks)
        return networks.build_keras_object(config, self.decode(node["weights"]), held)

    def _decode_network(self, node):
        from . import _networks as networks

        config = node["config"]
        networks.check_config(config, self._trusted)
        held = self._hold(config, networks)
        network = networks.make_stored_network(config, self.decode(node["weights"]), held)
        if held:
            networks.check_probe(network, self._decode_array(node["probe"]))
        return network

    def _decode_module(self, node):
        from . import _networks as networks

        module = self._hold_one(None, networks).module
        return networks.make_module(module, self.decode(node["state"]))

    def _hold(self, config, networks):
        """Give the torch modules that a configuration names."""
        return [self._hold_one(name, networks) for name in networks.named_modules(config)]

    def _hold_one(self, name, networks):
        self.embedder_wanted = True
        if name not in self._held:
            self._held[name] = networks.hold(self._embedder, name)
        return self._held[name]


def _metadata_requests(routed):
    """List what metadata each method of an estimator asks for, by ``set_fit_request`` and such."""
    methods = {} if routed is None else vars(routed)
    found = {
        method: {name: alias for name, alias in request.requests.items() if alias is not None}
        for method, request in methods.items()
        if hasattr(request, "requests")
    }
    return {method: requests for method, requests in found.items() if requests}


def _dtype_name(dtype, where):
    if dtype.kind not in _KINDS or dtype.char in "gG" or dtype.itemsize == 0:
        raise TypeError(f"{where} holds numbers of type {dtype}, which cannot be saved")
    return dtype.str


def _read_dtype(name):
    dtype = np.dtype(str(name))
    _dtype_name(dtype, "it")
    return dtype


def _read_shape(node):
    shape = tuple(node["shape"])
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{shape} is no shape of an array")
    return shape


def _random_state(kind, keys, position, has_gauss, gauss):
    """Make a generator of a state that numpy, which reads at the position, does not check."""
    keys = np.asarray(keys, dtype=np.uint32)
    if kind != "MT19937" or keys.shape != (624,) or not 0 <= int(position) <= 624:
        raise ValueError("it holds a random state that is none")
    rng = np.random.RandomState()
    rng.set_state((kind, keys, int(position), int(bool(has_gauss)), float(gauss)))
    return rng
