"""`kgrec serve`: a run answers over HTTP. The only room that knows fastapi and uvicorn.

In: a run folder, requests. Out: lists, reasons and sessions as JSON; nothing is written. `server`
starts it, `app` has the routes, `served` is the run, `scorer` computes, `batcher` brings waiting
requests together. What an event loop must not wait for (explanations, files) runs in a thread.
"""
