"""The blocks put together: one flat netlist of scalar nets, of which it is still known to which block instance each belongs.

Vectors are taken apart because simulators copy a whole vector for each bit that changes. Memories are behavioural.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skipstone.characterize.liberty import Library
from skipstone.characterize.power import BlockPower
from skipstone.characterize.synthesis import Bit, SynthesizedBlock
from skipstone.errors import SkipstoneError


@dataclass(frozen=True)
class FlatMemory:
    """``memory`` of the block instance ``path`` (empty: the top), called ``name`` in the flat netlist."""

    path: str
    memory: str
    name: str
    depth: int
    parameters: dict[str, Any]
    connections: dict[str, list[str]]


@dataclass(frozen=True)
class FlatCell:
    """A library cell ``instance`` of the block ``block``; nets by pin."""

    block: str
    instance: str
    kind: str
    connections: dict[str, str]


@dataclass(frozen=True, eq=False)
class FlatNetlist:
    """``nets`` gives, for every block instance (path, block) and bit number of the block, the flat net's name or a constant;
    ``ports`` the nets of the top's ports."""

    cells: list[FlatCell]
    memories: list[FlatMemory]
    nets: dict[tuple[str, str], dict[Bit, str]]
    ports: dict[str, list[str]]

    def port(self, name: str) -> str:
        """The net of a port of one bit."""
        (net,) = self.ports[name]
        return net

    def kinds(self) -> set[str]:
        """The library's cells that are used, by name."""
        return {cell.kind for cell in self.cells}

    def by_block(self, toggles: Mapping[str, int]) -> dict[tuple[str, str], dict[int, int]]:
        """Transitions by block instance and bit.

        Args:
            toggles: Transitions by flat net.
        """
        return {
            key: {bit: toggles.get(net, 0) for bit, net in bits.items() if isinstance(bit, int)}
            for key, bits in self.nets.items()
        }

    def verilog(self, powers: Mapping[str, BlockPower] | None) -> str:
        """Declarations, cells and memories in Verilog; no module around them.

        Args:
            powers: Have each cell's delay, by block; None: no delays.
        """
        used = sorted({net for bits in self.nets.values() for net in bits.values() if net.startswith("n")})
        lines = [f"    wire {net};" for net in used]
        for number, cell in enumerate(self.cells):
            delay = powers[cell.block].delays_ps.get(cell.instance, 1) if powers is not None else 0
            pins = ", ".join(f".{pin}({net})" for pin, net in cell.connections.items())
            lines.append(f"    {cell.kind} #({delay}) c{number}({pins});")
        return "\n".join([*lines, *(line for memory in self.memories for line in _memory(memory))])


@dataclass
class _Nets:
    """Nets that turn out to be the same are joined (union-find); a constant stays one."""

    parents: list[int] = field(default_factory=list)
    constants: dict[int, str] = field(default_factory=dict)

    def new(self) -> int:
        self.parents.append(len(self.parents))
        return len(self.parents) - 1

    def find(self, net: int) -> int:
        while self.parents[net] != net:
            self.parents[net] = self.parents[self.parents[net]]
            net = self.parents[net]
        return net

    def join(self, net: int, other_net: int) -> None:
        net, other_net = self.find(net), self.find(other_net)
        if net != other_net:
            self.parents[other_net] = net
            if other_net in self.constants:
                self.constants[net] = self.constants.pop(other_net)

    def name(self, net: int) -> str:
        root = self.find(net)
        return self.constants.get(root, f"n{root}")


def flatten(blocks: Mapping[str, SynthesizedBlock], library: Library, top: str = "glue") -> FlatNetlist:
    """An instance of a block with everything that it instantiates, in cells.

    Args:
        blocks: The design's blocks, by name.
        library: The cells.
        top: The block to begin with.

    Raises:
        SkipstoneError: A block has a cell that the library has not.
    """
    kinds = {block.module: name for name, block in blocks.items()}
    nets = _Nets()
    numbers: dict[tuple[str, str], dict[Bit, int]] = {}
    cells: list[tuple[str, str, str, dict[str, int]]] = []
    memories: list[tuple[str, str, dict[str, Any], dict[str, list[int]]]] = []

    def place(path: str, name: str, outside: dict[str, list[int]] | None) -> None:
        block = blocks[name]
        mine: dict[Bit, int] = {}
        numbers[path, name] = mine

        def net(bit: Bit) -> int:
            if bit not in mine:
                mine[bit] = nets.new()
                if isinstance(bit, str):
                    nets.constants[mine[bit]] = f"1'b{bit}"
            return mine[bit]

        for port, (_, bits) in block.ports.items():
            for index, bit in enumerate(bits):
                inner = net(bit)
                if outside is not None and port in outside and index < len(outside[port]):
                    nets.join(outside[port][index], inner)
        for memory, (parameters, connections) in block.memories.items():
            memories.append(
                (path, memory, parameters, {port: [net(bit) for bit in bits] for port, bits in connections.items()})
            )
        for instance, (kind, connections) in block.cells.items():
            if kind in kinds:
                inside = {port: [net(bit) for bit in bits] for port, bits in connections.items()}
                place(f"{path}.{instance}" if path else instance, kinds[kind], inside)
            elif kind in library.cells:
                cells.append((name, instance, kind, {pin: net(bits[0]) for pin, bits in connections.items() if bits}))
            else:
                raise SkipstoneError(f"block {name} has a cell of type {kind}, which the library has not")

    place("", top, None)
    return FlatNetlist(
        [
            FlatCell(block, instance, kind, {pin: nets.name(net) for pin, net in pins.items()})
            for block, instance, kind, pins in cells
        ],
        [
            FlatMemory(
                path,
                memory,
                f"memory{number}",
                parameters["SIZE"],
                parameters,
                {port: [nets.name(net) for net in bits] for port, bits in connections.items()},
            )
            for number, (path, memory, parameters, connections) in enumerate(memories)
        ],
        {key: {bit: nets.name(net) for bit, net in bits.items()} for key, bits in numbers.items()},
        {port: [nets.name(numbers["", top][bit]) for bit in bits] for port, (_, bits) in blocks[top].ports.items()},
    )


def _memory(memory: FlatMemory) -> list[str]:
    """A ``$mem_v2`` in Verilog; SkipstoneError where it has what our gateware does not use."""
    p, c = memory.parameters, memory.connections
    width, address = p["WIDTH"], p["ABITS"]
    for name in ("RD_TRANSPARENCY_MASK", "RD_CLK_POLARITY", "WR_CLK_POLARITY", "OFFSET"):
        expected = 0 if name in ("RD_TRANSPARENCY_MASK", "OFFSET") else None
        if expected is not None and p.get(name, 0) != expected:
            raise SkipstoneError(f"memory {memory.memory} has {name} {p[name]}, which characterization cannot simulate")
    if any(net != "1'b0" for net in c.get("RD_SRST", []) + c.get("RD_ARST", [])):
        raise SkipstoneError(f"memory {memory.memory} has a reset, which characterization cannot simulate")
    lines = [f"    reg [{width - 1}:0] {memory.name} [0:{p['SIZE'] - 1}];"]
    for port in range(p["RD_PORTS"]):
        where = _concat(c["RD_ADDR"][port * address : (port + 1) * address])
        data = c["RD_DATA"][port * width : (port + 1) * width]
        register = f"{memory.name}_read{port}"
        if p["RD_CLK_ENABLE"] >> port & 1:
            enable = c["RD_EN"][port]
            lines += [
                f"    reg [{width - 1}:0] {register} = 0;",
                f"    always @(posedge {c['RD_CLK'][port]}) if ({enable}) {register} <= {memory.name}[{where}];",
            ]
        else:
            lines += [f"    wire [{width - 1}:0] {register} = {memory.name}[{where}];"]
        lines += [f"    assign {net} = {register}[{index}];" for index, net in enumerate(data) if net.startswith("n")]
    for port in range(p["WR_PORTS"]):
        where = _concat(c["WR_ADDR"][port * address : (port + 1) * address])
        data = c["WR_DATA"][port * width : (port + 1) * width]
        enables = c["WR_EN"][port * width : (port + 1) * width]
        first = 0
        for index in range(1, width + 1):
            if index == width or enables[index] != enables[first]:
                value = _concat(data[first:index])
                lines.append(
                    f"    always @(posedge {c['WR_CLK'][port]}) if ({enables[first]}) "
                    f"{memory.name}[{where}][{index - 1}:{first}] <= {value};"
                )
                first = index
    return lines


def _concat(nets: list[str]) -> str:
    return "{" + ", ".join(reversed(nets)) + "}"
