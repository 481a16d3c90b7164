"""Looks at the live page in Chromium as a person would: look.py URL PICTURES

Prints what it saw as JSON; a failure is an exception. Needs selenium, chromium and chromium-driver.
"""
import json
import sys

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

url, pictures = sys.argv[1], sys.argv[2]
options = Options()
options.binary_location = "/usr/bin/chromium"
for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--window-size=1400,1700"):
    options.add_argument(flag)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
wait = WebDriverWait(driver, 60, poll_frequency=0.1)


def text(selector):
    return driver.find_element(By.CSS_SELECTOR, selector).text


def rows(table):
    return len(driver.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr td.number"))


try:
    driver.get(url)
    wait.until(lambda _: text("#connection") == "Live")
    wait.until(lambda _: rows("talkers") > 0 and rows("connections") > 0 and rows("probes") > 0)
    wait.until(lambda _: "bit/s" in text("#bits-chart .now") and text("#flows-chart .now") not in ("–", "0"))
    wait.until(lambda _: driver.find_element(By.CSS_SELECTOR, "#flows-chart .line").get_attribute("d").count("L") >= 3)
    wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#alarms li strong"))
    driver.save_screenshot(f"{pictures}/desktop.png")

    # The first tab stop skips to the traffic; a statement opens by keyboard.
    driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert driver.switch_to.active_element.text == "Skip to the traffic"
    summary = driver.find_element(By.CSS_SELECTOR, '#statements details[data-name="top_talkers"] summary')
    summary.send_keys(Keys.ENTER)
    wait.until(lambda _: "group by src_addr" in text('#statements details[data-name="top_talkers"] pre'))

    # What a screen reader is told.
    label = driver.find_element(By.CSS_SELECTOR, "#flows-chart svg").get_attribute("aria-label")
    assert "now" in label and "peak" in label, label
    unnamed = driver.execute_script("""
        return [...document.querySelectorAll('table, [role=region], nav, svg[role=img]')]
            .filter((node) => !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby')).map((node) => node.outerHTML.slice(0, 80))""")
    assert not unnamed, unnamed

    # Nothing was asked of anybody else.
    asked = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    foreign = [name for name in asked if not name.startswith(url)]
    assert not foreign, foreign

    # On a phone nothing sticks out.
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True})
    driver.get(url)
    wait.until(lambda _: rows("talkers") > 0)
    width = driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390, f"the page is {width} wide on a phone of 390"
    driver.save_screenshot(f"{pictures}/phone.png")

    # It comes back by itself after a restart.
    print(json.dumps({"alarm": text("#alarms li"), "asked": len(asked)}), flush=True)
    sys.stdin.readline()
    wait.until(lambda _: text("#connection") != "Live")
    print("lost", flush=True)
    sys.stdin.readline()
    wait.until(lambda _: text("#connection") == "Live")
    print("back", flush=True)
    severe = [entry for entry in driver.get_log("browser")
              if entry["level"] == "SEVERE" and "WebSocket connection" not in entry["message"]]
    assert not severe, severe
finally:
    driver.quit()
