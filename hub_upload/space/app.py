"""The page: upload a recording, choose a contact and a window, see what BrainBERT makes of it.

    python -m brainbert.hub_upload.space.app --model FOLDER_OR_ID

On this machine; `assemble` writes the folder of a Space.
"""

import argparse
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr
from jinja2 import Environment, PackageLoader

from brainbert.processing.program import HelpFormatter, run

from . import page, sample, uploads
from .actions import LINE_FREQUENCIES, REFERENCES, UNITS, Actions
from .encoder import Encoder, load_encoder
from .refusal import Refusal
from .session import KEPT_S, Session, Sessions

_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_LOG = logging.getLogger(__name__)


def build(encoder: Encoder, sessions: Sessions) -> gr.Blocks:
    """Return the page for a model; GRADIO_TEMP_DIR must be sessions.uploads."""
    actions = Actions(encoder, sessions)
    with gr.Blocks(title=f"BrainBERT: {encoder.name}", delete_cache=(600, int(KEPT_S)), analytics_enabled=False) as app:
        session = gr.State(
            None, time_to_live=KEPT_S, delete_callback=lambda old: None if old is None else sessions.remove(old.folder)
        )
        gr.HTML(page.header(encoder))
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=300):
                files = gr.File(label="Recording", file_count="multiple", file_types=None, height=150, elem_id="upload")
                _refuse_addresses(files)
                gr.HTML(page.upload_hint())
                take_sample = gr.Button("Take the sample", variant="primary", elem_id="sample")
                message = gr.HTML(elem_id="message")
                line = gr.Radio(LINE_FREQUENCIES, value=0, label="Line noise to remove (Hz)", elem_id="line")
                reference = gr.Dropdown(
                    REFERENCES,
                    value=encoder.conditioning["reference"],
                    label="Reference",
                    filterable=False,
                    elem_id="reference",
                )
                with gr.Accordion("If the file is silent or wrong", open=False):
                    rate = gr.Number(label="Rate of an array (Hz)", value=None, minimum=0)
                    unit = gr.Dropdown(UNITS, value="", label="Unit, where a header is wrong", filterable=False)
                    channels = gr.Textbox(
                        label="Channels", placeholder="LA1, LA2, LA3", info="Names, by commas; by default the contacts."
                    )
                summary = gr.HTML(elem_id="summary")
            with gr.Column(scale=3, min_width=320):
                with gr.Row(visible=False) as choice:
                    contact = gr.Dropdown([], label="Contact", elem_id="contact", scale=1, min_width=150)
                    start = gr.Slider(0, 1, value=0, step=0.1, label="Window starts at (s)", elem_id="start", scale=3)
                pictures = gr.HTML(page.welcome(), elem_id="pictures")
                with gr.Row(visible=False, equal_height=False) as after:
                    with gr.Column(min_width=330):
                        trajectory = gr.HTML(elem_id="trajectory")
                    with gr.Column(min_width=330):
                        across = gr.HTML(page.not_embedded(), elem_id="across")
                        with gr.Row():
                            embed = gr.Button("Embed all windows", elem_id="embed", size="md", min_width=140)
                            download = gr.DownloadButton(
                                "Download .npz", interactive=False, elem_id="download", size="md", min_width=140
                            )

        shown = [
            session, message, summary, contact, start, choice, pictures, trajectory, after, across, download, files
        ]  # fmt: skip

        def show(found: Session, request: gr.Request) -> list[Any]:
            sessions.belongs(found.folder, visitor=request.session_hash)
            file = found.task["file"]
            name, told = ("The sample", [sample.TOLD]) if file is None else (file, [])
            contacts, problem = found.prepared["contacts"], found.prepared["problem"]
            drawn, last = (page.welcome(), ""), 0.0
            if contacts:
                last = actions.last_start_s(found)
                try:
                    drawn = actions.draw(found, contacts[0], 0.0)
                except Refusal as error:
                    problem, drawn = str(error), ("", "")
            return [
                found,
                page.refusal(problem),
                page.summary(name, found.prepared, found.task, encoder, told=told),
                gr.Dropdown(contacts, value=contacts[0] if contacts else None),
                gr.Slider(0, max(last, 0.1), value=0, interactive=last > 0),
                gr.Row(visible=bool(contacts)),
                *drawn,
                gr.Row(visible=bool(contacts)),
                page.not_embedded(),
                gr.DownloadButton(value=None, interactive=False),
                None,
            ]

        def refused(sentence: str) -> list[Any]:
            kept = [gr.skip() for _ in shown]
            kept[1], kept[-1] = page.refusal(sentence), None
            return kept

        def on_upload(request: gr.Request, paths: Any, old: Any, *settings: Any) -> list[Any]:
            return _said(lambda: show(actions.receive(paths, old, *settings), request), refused)

        def on_sample(request: gr.Request, old: Any, reference: str) -> list[Any]:
            return [
                *_said(lambda: show(actions.take_sample(old, sample.LINE_HZ, reference), request), refused),
                sample.LINE_HZ,
            ]

        def on_settings(request: gr.Request, found: Any, line: int, reference: str) -> list[Any]:
            if found is None:
                return [gr.skip() for _ in shown]
            return _said(lambda: show(actions.condition_again(found, line, reference), request), refused)

        def on_window(found: Any, name: str, start_s: float) -> list[Any]:
            return _said(
                lambda: ["", *actions.draw(found, name, start_s)],
                lambda said: [page.refusal(said), gr.skip(), gr.skip()],
            )

        def on_embed(found: Any, name: str) -> list[Any]:
            def embedded() -> list[Any]:
                path, drawn = actions.embed(found, name)
                return ["", gr.DownloadButton(value=path, interactive=True), drawn]

            return _said(embedded, lambda said: [page.refusal(said), gr.skip(), gr.skip()])

        quiet = {"api_visibility": "private", "show_progress_on": [pictures]}
        files.upload(on_upload, [files, session, rate, unit, channels, line, reference], shown, **quiet)
        take_sample.click(on_sample, [session, reference], [*shown, line], **quiet)
        for setting in (line, reference):
            setting.input(on_settings, [session, line, reference], shown, **quiet)
        gr.on(
            [contact.input, start.release],
            on_window,
            [session, contact, start],
            [message, pictures, trajectory],
            **quiet,
        )
        embed.click(
            on_embed, [session, contact], [message, download, across],
            api_visibility="private", show_progress_on=[across],
        )  # fmt: skip

        # The state of a page that was closed is kept for an hour; what was uploaded to it is not.
        def leave(request: gr.Request) -> None:
            sessions.leave(request.session_hash)

        app.unload(leave)
    app.queue(max_size=32, default_concurrency_limit=2)
    return app


def _refuse_addresses(files: gr.File) -> None:
    """Take files that came through the upload and nothing else: Gradio would fetch any address that a caller gives."""
    move = files.async_move_resource_to_block_cache

    async def move_upload(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise gr.Error("Addresses are not fetched: upload the file itself.", print_exception=False)
        return await move(path)

    # Not by a class of our own: Gradio writes a .pyi file beside the source of each subclass of its components.
    files.async_move_resource_to_block_cache = move_upload


def _said(act: Callable[[], list[Any]], refused: Callable[[str], list[Any]]) -> list[Any]:
    """Return what `act` returns, or what `refused` makes of the one sentence that stands for its failure."""
    try:
        return act()
    except Refusal as error:
        return refused(str(error))
    except Exception:
        _LOG.exception("The page failed")
        return refused("Something went wrong here, which is a mistake of the page: try again, or another file.")


def serve(
    model: str,
    *,
    revision: str | None = None,
    port: int | None = 7860,
    host: str | None = None,
    wait: bool = True,
) -> tuple[gr.Blocks, str]:
    """Load a model and serve its page; returns the app and its address, at once unless `wait`.

    port: 0 for any that is free. host: None for this machine only, unless GRADIO_SERVER_NAME says otherwise.
    """
    sessions = Sessions()
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.uploads)  # where Gradio keeps what is uploaded and downloaded
    app = build(load_encoder(model, revision=revision), sessions)
    style = Environment(loader=PackageLoader("brainbert.hub_upload.space", "."), autoescape=False)
    _, address, _ = app.launch(
        server_port=_free_port() if port == 0 else port,
        server_name=host,
        prevent_thread_lock=True,
        show_error=False,  # its texts hold paths; what we have to say is on the page
        quiet=True,
        footer_links=[],
        allowed_paths=[],
        max_file_size=uploads.MAX_UPLOAD_BYTES,
        ssr_mode=False,
        css=style.get_template("style.css.j2").render(),
        theme=gr.themes.Default(
            primary_hue="blue", font=_FONTS, font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"]
        ),
    )
    if wait:
        print(f"BrainBERT: {address} (stop with Ctrl-C)", flush=True)
        try:
            while True:
                time.sleep(3600)
        finally:
            app.close(verbose=False)
            sessions.close()
    return app, address


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    """Serve the page on this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a BrainBERT model")
    parser.add_argument("--revision", help="of a model on the Hub: branch, tag or commit")
    parser.add_argument("--port", type=int, default=7860, help="of this machine; 0 for any that is free")
    args = parser.parse_args()
    serve(args.model, revision=args.revision, port=args.port)


if __name__ == "__main__":
    run(main)
