"""`kgrec serve`: a run answers over HTTP. The only room that knows fastapi and uvicorn.

`server` starts it, `app` has the routes, `scorer` computes, `batcher` brings waiting requests
together. What an event loop must not wait for (explanations, files) runs in a thread.
"""
