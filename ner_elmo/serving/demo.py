"""The demo page: a text, its entities with confidences, and the biLM's layers in the vector of each token.

Gradio, with analytics, run history and links to elsewhere switched off and with the system's own fonts. Nothing of a text is
kept after its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from ner_elmo.entities import Entity
from ner_elmo.serving.layer_shares import layer_shares, mixed_layers
from ner_elmo.serving.request_queue import QueueFull, RequestQueue, TaggingFailed

SAMPLE = (
    "Ada Lund flew from Oslo to Nairobi to meet the board of Northlight Optics. "
    "Two days later the Kenyan minister Grace Otieno opened their new plant in Mombasa."
)
TYPE_COLOURS = ("#f59e0b", "#10b981", "#3b82f6", "#ec4899", "#8b5cf6", "#14b8a6", "#ef4444", "#84cc16", "#6366f1", "#a16207")
LAYER_COLOURS = ("#94a3b8", "#38bdf8", "#6366f1", "#c026d3", "#f97316")
MIX_TOKENS = 80  # whose layers are shown
UPLOAD = "/gradio_api/upload"
CSS = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important }
.ner h3 { margin: 0 0 6px !important; font-size: 1em }
.ner table { width: 100%; border-collapse: collapse; font-size: 0.95em }
.ner table, .ner tr, .ner th, .ner td { border: 0 !important }
.ner th, .ner td { padding: 5px 8px !important; text-align: left }
.ner th { font-weight: 600 !important; color: var(--body-text-color-subdued) }
.ner td { border-top: 1px solid var(--border-color-primary) !important; overflow-wrap: anywhere }
.ner .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.ner .type { white-space: nowrap; color: white; border-radius: 4px; padding: 1px 7px; font-size: 0.85em; font-weight: 600 }
.ner .bar { display: flex; height: 7px; border-radius: 4px; overflow: hidden; background: var(--border-color-primary) }
.ner .quiet { color: var(--body-text-color-subdued); font-size: 0.9em; margin: 6px 0 }
.ner .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 2px 0 12px; font-size: 0.9em }
.ner .dot { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px }
.ner .tokens { display: flex; flex-wrap: wrap; gap: 10px 8px }
.ner .token { min-width: 66px; text-align: center; overflow-wrap: anywhere }
.ner .token small { color: var(--body-text-color-subdued); font-size: 0.72em; font-variant-numeric: tabular-nums }
"""


async def _no_uploads() -> JSONResponse:
    return JSONResponse({"detail": "files are not taken here. Send text to /entities."}, 404)


def mount_demo(app: FastAPI, queue: RequestQueue, about: dict[str, Any], seconds: float) -> None:
    """Puts the page at /.

    Arguments: about: what `GET /model` says; seconds: that an answer may take.
    """
    app.add_api_route(UPLOAD, _no_uploads, methods=["POST"], include_in_schema=False)  # Gradio would keep files for good
    system = ("system-ui", "sans-serif")
    theme = gr.themes.Soft(primary_hue="indigo", neutral_hue="slate", font=system, font_mono=("ui-monospace", "monospace"))
    gr.mount_gradio_app(
        app, _page(queue, about, seconds), path="/", theme=theme, css=CSS, footer_links=[], run_history=False,
        ssr_mode=False, pwa=False, enable_monitoring=False, mcp_server=False,
    )  # fmt: skip


def _page(queue: RequestQueue, about: dict[str, Any], seconds: float) -> gr.Blocks:
    types = about["types"]
    colours = {kind: TYPE_COLOURS[number % len(TYPE_COLOURS)] for number, kind in enumerate(types)}
    layers = mixed_layers(queue.tagger)

    async def show(text: str, minimum: float) -> tuple[dict[str, Any], str, str]:
        entities, mix = await _answer(queue, text, bool(layers), seconds)
        shown = [entity for entity in entities if entity.confidence >= minimum]
        marks = [{"entity": entity.type, "start": entity.start, "end": entity.end} for entity in shown]
        table = entity_table(shown, len(entities) - len(shown), colours)
        return {"text": text, "entities": marks}, table, mix_bars(*mix, layers)

    with gr.Blocks(title="ner-elmo", analytics_enabled=False) as page:
        gr.Markdown(f"# ner-elmo\n{_headline(about)}")
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(SAMPLE, label="Text", lines=5, max_lines=20, elem_id="text")
                minimum = gr.Slider(0, 1, 0, step=0.01, label="Minimum confidence", elem_id="minimum")
                button = gr.Button("Find entities", variant="primary", elem_id="find")
            with gr.Column():
                marked = gr.HighlightedText(label="Entities in the text", color_map=colours, elem_id="marked")
        with gr.Row():
            table = gr.HTML(elem_id="table", elem_classes="ner")
            mix = gr.HTML(elem_id="mix", elem_classes="ner", visible=bool(layers))
        shown: dict[str, Any] = {
            "fn": show, "inputs": [text, minimum], "outputs": [marked, table, mix], "api_visibility": "private",
            "concurrency_limit": None, "show_progress": "hidden",
        }  # fmt: skip
        button.click(**shown)
        minimum.change(**shown, trigger_mode="always_last")
    return page


async def _answer(
    queue: RequestQueue, text: str, with_mix: bool, seconds: float
) -> tuple[list[Entity], tuple[list[str], np.ndarray, bool]]:
    """The entities of a text; tokens from its beginning, the shares of layers in them, and whether there are more tokens."""
    tokens: list[str] = []
    shares: list[np.ndarray] = [np.empty((0, 0))]
    try:
        async with asyncio.timeout(seconds):
            (entities,) = await queue.tag([text])
            sentences = await queue.sentences(text) if with_mix else []
            for sentence in sentences:
                if len(tokens) + len(sentence.tokens) > MIX_TOKENS:
                    break
                tokens += sentence.tokens
                shares.append(await queue.with_network(layer_shares, queue.tagger, sentence.tokens))
    except QueueFull:
        raise gr.Error("Too many requests are waiting. Try again in a second.", print_exception=False) from None
    except TimeoutError:
        raise gr.Error(f"Not done within {seconds:g} seconds. Try less text.", print_exception=False) from None
    except TaggingFailed as error:
        raise gr.Error(f"Tagging failed ({error}). The server's log says where.", print_exception=False) from None
    more = sum(len(sentence.tokens) for sentence in sentences) > len(tokens)
    return entities, (tokens, np.concatenate(shares[1:]) if tokens else shares[0], more)


def entity_table(entities: Sequence[Entity], n_hidden: int, colours: dict[str, str]) -> str:
    """A row for each entity: type, text, confidence, offsets. HTML."""
    rows = "".join(
        f'<tr><td><span class="type" style="background:{colours[entity.type]}">{escape(entity.type)}</span></td>'
        f"<td>{escape(entity.text)}</td>"
        f'<td style="width:28%">{_bar([(entity.confidence, colours[entity.type])])}</td>'
        f'<td class="number">{entity.confidence:.2f}</td><td class="number quiet">{entity.start}–{entity.end}</td></tr>'
        for entity in entities
    )
    count = f"{len(entities)} {'entity' if len(entities) == 1 else 'entities'}"
    hidden = f", {n_hidden} below the minimum confidence" if n_hidden else ""
    head = '<tr><th>type</th><th>entity</th><th colspan="2">confidence</th><th>place</th></tr>' if entities else ""
    return f"<h3>{count}{hidden}</h3><table>{head}{rows}</table>"


def mix_bars(tokens: Sequence[str], shares: np.ndarray, more: bool, layers: Sequence[tuple[int, float]]) -> str:
    """A bar for each token, parted among the layers of the mix. shares (T, layers). HTML."""
    colours = [LAYER_COLOURS[number % len(LAYER_COLOURS)] for number, _ in layers]
    legend = "".join(
        f'<span><span class="dot" style="background:{colour}"></span>layer {number}'
        f"{' (characters alone)' if number == 0 else ''}, weight {weight:.2f}</span>"
        for (number, weight), colour in zip(layers, colours, strict=True)
    )
    cards = "".join(
        f'<div class="token">{escape(token)}{_bar(list(zip(row, colours, strict=True)))}'
        f"<small>{' · '.join(f'{100 * share:.0f}' for share in row)}</small></div>"
        for token, row in zip(tokens, shares, strict=True)
    )
    rest = f'<p class="quiet">The first {len(tokens)} tokens, in whole sentences.</p>' if more else ""
    about = "The weights are learned, the same for every token; the length of each layer's vector is the token's own."
    return (
        f"<h3>Layers of the biLM in each token, per cent</h3><p class='quiet'>{about}</p>"
        f'<div class="legend">{legend}</div><div class="tokens">{cards}</div>{rest}'
    )


def _bar(parts: Sequence[tuple[float, str]]) -> str:
    inside = "".join(f'<span style="width:{100 * share:.1f}%;background:{colour}"></span>' for share, colour in parts)
    return f'<div class="bar">{inside}</div>'


def _headline(about: dict[str, Any]) -> str:
    types = ", ".join(escape(kind) for kind in about["types"])
    return f"Named entities of your text: {types}. Texts are neither kept, logged nor passed on. [API](docs)"
